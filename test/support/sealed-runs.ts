/** Reads the seals of a log back, and checks them against the records in it, without the code that made them. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { findSchema, NEWEST_SCHEMA, readFrame } from '@agent-audit/schemas'
import {
  generateKey,
  noteHash,
  parseProducerSeal,
  type ProducerSeal,
  signerFromPem,
  type VerifierKey,
  verifyNote,
} from '@agent-audit/seals'
import { embeddedLogFile, openEmbeddedLogReader } from '@agent-audit/spool'

/** A message of a topic, as any log gives it. */
export interface Message {
  readonly value: Uint8Array
}

/** A key of a producer: its text, and what verifies its notes. */
export interface TestKey {
  readonly pem: string
  readonly verifier: VerifierKey
}

export function newKey(name: string): TestKey {
  const pem = generateKey(name)
  return { pem, verifier: signerFromPem(pem).key }
}

export interface FoundSeal extends ProducerSeal {
  readonly note: string
  /** The key that signed it. */
  readonly signedBy: string
}

/** What the seals of a run say of its records. */
export interface SealedRun {
  readonly producerId: string
  readonly seals: readonly FoundSeal[]
  /** The state of each seal, such as `open open closed`. */
  readonly states: string
  /** run_seqs in the topic, in order; each once. */
  readonly records: readonly number[]
  /** Records in the topic that no seal covers, or that more than one seal covers. */
  readonly unsealed: readonly number[]
  readonly sealedTwice: readonly number[]
  /** run_seqs that a seal covers and that are not in the topic. */
  readonly missing: readonly number[]
  readonly gaps: readonly number[]
  readonly undelivered: readonly number[]
  /** Whatever is wrong with the chain or a digest. */
  readonly faults: readonly string[]
}

/** All messages of a topic in the embedded log of a directory. */
export function readMessages(dataDir: string, topic: string): Message[] {
  if (!existsSync(embeddedLogFile(dataDir))) return []
  const log = openEmbeddedLogReader({ directory: dataDir })
  try {
    const found: Message[] = []
    for (let partition = 0; partition < (log.partitions(topic) ?? 0); partition++) {
      const { start, end } = log.bounds(topic, partition)
      for (let next = start; next < end;) {
        for (const { offset, value } of log.read(topic, partition, next, 2 ** 20)) {
          found.push({ value: value ?? new Uint8Array() })
          next = offset + 1
        }
      }
    }
    return found
  } finally {
    log.close()
  }
}

/** The seals of messages, in order; those with equal bytes count once. */
export function sealsOf(messages: readonly Message[], keys: readonly TestKey[]): FoundSeal[] {
  const notes = new Set(messages.map(({ value }) => Buffer.from(value).toString()))
  return [...notes].map((note) => {
    const { text, verified } = verifyNote(
      note,
      keys.map(({ verifier }) => verifier),
    )
    return { ...parseProducerSeal(text), note, signedBy: verified[0].key.name }
  })
}

/** Leaf by run_seq of each run. */
export type Leaves = Map<string, Map<number, Buffer>>

/** Adds the leaves of messages. */
export function addLeaves(messages: readonly Message[], runs: Leaves): Leaves {
  for (const { value } of messages) {
    const message = Buffer.from(value)
    const frame = readFrame(message)
    if (frame.kind === 'unknown') throw new Error(frame.reason)
    // What this build registers is of its own schema.
    const fingerprint = frame.kind === 'confluent' ? NEWEST_SCHEMA.fingerprint : frame.fingerprint
    const body = message.subarray(frame.bodyStart)
    const record = findSchema(fingerprint)?.avroType.fromBuffer(body) as { run_id: Buffer; run_seq: number }
    const runId = Buffer.from(record.run_id).toString('hex')
    const run = runs.get(runId) ?? new Map<number, Buffer>()
    runs.set(runId, run)
    run.set(record.run_seq, createHash('sha256').update(Buffer.of(0)).update(body).digest())
  }
  return runs
}

function numbers({ first, last }: { first: number; last: number }): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

/** Checks the seals of every run against the records. Numbers are run_seqs. */
export function checkSeals(
  events: readonly Message[],
  seals: readonly Message[],
  keys: readonly TestKey[],
): Map<string, SealedRun> {
  return checkLeaves(addLeaves(events, new Map()), seals, keys)
}

/** The same with the leaves of the records. */
export function checkLeaves(
  leaves: Leaves,
  seals: readonly Message[],
  keys: readonly TestKey[],
): Map<string, SealedRun> {
  const found = Map.groupBy(sealsOf(seals, keys), ({ runId }) => runId)
  const runs = new Set([...leaves.keys(), ...found.keys()])
  return new Map(
    [...runs].map((runId) => [runId, checkRun(leaves.get(runId) ?? new Map<number, Buffer>(), found.get(runId) ?? [])]),
  )
}

function checkRun(leaves: ReadonlyMap<number, Buffer>, seals: readonly FoundSeal[]): SealedRun {
  const faults: string[] = []
  const covered = new Map<number, number>()
  let next = 0
  let prev: Buffer | undefined
  for (const [index, seal] of seals.entries()) {
    const { number, first, last, gaps } = seal
    if (number !== index) faults.push(`seal ${number} is at ${index}`)
    if (first !== next) faults.push(`seal ${number} begins at ${first}, not ${next}`)
    if ((seal.prev?.toString('hex') ?? '') !== (prev?.toString('hex') ?? '')) faults.push(`prev of seal ${number}`)
    const gapped = new Set(gaps.flatMap(numbers))
    const sealed = numbers({ first, last }).filter((seq) => !gapped.has(seq))
    if (sealed.length !== seal.count) faults.push(`seal ${number} counts ${seal.count}, not ${sealed.length}`)
    const own = sealed.map((seq) => leaves.get(seq))
    const digest = createHash('sha256').update(Buffer.concat(own.filter((leaf) => leaf !== undefined)))
    if (!own.includes(undefined) && !digest.digest().equals(seal.digest)) faults.push(`digest of seal ${number}`)
    for (const seq of sealed) covered.set(seq, (covered.get(seq) ?? 0) + 1)
    next = last + 1
    prev = noteHash(seal.note)
  }
  const records = [...leaves.keys()].toSorted((one, other) => one - other)
  return {
    producerId: seals[0]?.producerId ?? '',
    seals,
    states: seals.map(({ state }) => state.kind).join(' '),
    records,
    unsealed: records.filter((seq) => !covered.has(seq)),
    sealedTwice: [...covered].filter(([, times]) => times > 1).map(([seq]) => seq),
    missing: [...covered.keys()].filter((seq) => !leaves.has(seq)).toSorted((one, other) => one - other),
    gaps: seals.flatMap(({ gaps }) => gaps.flatMap(numbers)),
    undelivered: seals.flatMap(({ undelivered }) => undelivered.flatMap(numbers)),
    faults,
  }
}
