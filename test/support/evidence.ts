/** Evidence bundles of really sealed runs, made without a server: from the messages of an embedded log and its topic of seals. */
import { createAuditTrail } from '@agent-audit/producer'
import { readFrame, SCHEMA_VERSIONS } from '@agent-audit/schemas'
import {
  EMPTY_TRUST,
  formatCheckpoint,
  formatTrust,
  leafHash,
  MerkleTree,
  parseNote,
  parseProducerSeal,
  type ProducerSeal,
  signCheckpoint,
  signerFromPem,
  type Trust,
  type TrustedKey,
} from '@agent-audit/seals'
import { type Bundle, type EvidenceRecord, readRecord, renderReport } from '@agent-audit/seals/evidence'
import type { Store } from '../consumer/support.ts'
import { storeSealLog } from './seal-log.ts'
import { newKey, readMessages, type TestKey } from './sealed-runs.ts'

export const ORIGIN = 'trail.example/audit.events'
export const HOSTILE = `<script>alert(1)</script>&"'\u202e\u0000\u001b[2J<img src=x onerror=alert(1)>\u{e0041}</dd>`
/** More than one seal holds. */
const OTHER_EVENTS = 1500
const YEAR_MS = 365 * 86_400_000

/** What a run has left in its log. */
export interface SealedLog {
  readonly producer: TestKey
  readonly notary: TestKey
  /** Messages of the topic of events. */
  readonly events: readonly Buffer[]
  /** Notes of the topic of seals, each once. */
  readonly notes: readonly string[]
  /** Of the checkpoints, and a year after the keys begin to count; milliseconds since 1970. */
  readonly now: number
  /** Cosigns the checkpoints. */
  readonly witness?: TestKey | undefined
  /** Further keys of the trust file. */
  readonly trusted?: readonly TrustedKey[] | undefined
  /** A key that nothing of the log is signed by. */
  readonly newKey: (name: string) => TestKey
}

/**
 * Two sessions in turns: `short` with hostile texts, whose events two seals cover, and `long`. `open` has no end, `handed` is
 * begun by one run and ended by another.
 */
export async function recordSealedSessions(dataDir: string): Promise<SealedLog> {
  const [producer, notary] = [newKey('agent-1'), newKey('notary-1')]
  const trail = createAuditTrail({ agentId: 'agent-1', dataDir, signing: { key: producer.pem }, handleExit: false })
  const short = trail.startSession({ session_id: 'short', user_message: HOSTILE })
  const long = trail.startSession({ session_id: 'long' })
  for (let index = 0; index < OTHER_EVENTS; index++) {
    long.decision({ reasoning: `decision ${index}` })
    if (index % 200 === 0)
      short.llmCall({ input_messages: [], output_text: HOSTILE.repeat(2), cost_usd: index / 3e7, input_tokens: index })
  }
  short.end()
  // A session without an end.
  trail.startSession({ session_id: 'open' })
  const handed = trail.startSession({ session_id: 'handed' })
  await trail.close()
  const next = createAuditTrail({ agentId: 'agent-1', dataDir, signing: { key: producer.pem }, handleExit: false })
  next.resumeSession(handed.ref).end()
  await next.close()
  return readSealedLog(dataDir, { producer, notary })
}

export function readSealedLog(dataDir: string, keys: { producer: TestKey; notary: TestKey }): SealedLog {
  const events = readMessages(dataDir, 'audit.events').map(({ value }) => Buffer.from(value))
  const notes = readMessages(dataDir, 'audit.events.seals').map(({ value }) => Buffer.from(value).toString())
  return { ...keys, events, notes: [...new Set(notes)], now: Date.now(), newKey }
}

/** A trust file of the keys. */
export function trustOf(log: SealedLog, change: Partial<Trust> = {}): string {
  const { producer, notary, now, witness, trusted = [] } = log
  const key = { notBefore: now - YEAR_MS, notAfter: undefined, revoked: undefined }
  const keys = [
    { ...key, key: producer.verifier, role: 'producer' as const },
    { ...key, key: notary.verifier, role: 'notary' as const },
    ...trusted,
  ]
  const witnesses = witness === undefined ? [] : [witness.verifier.cosigner]
  return formatTrust({ ...EMPTY_TRUST, keys, producers: ['agent-1'], origin: ORIGIN, witnesses, ...change })
}

export interface CheckpointsOf {
  readonly tree: MerkleTree
  readonly sizes: readonly number[]
  /** By size. */
  readonly notes: ReadonlyMap<number, string>
}

/** The log of all notes, with a checkpoint after the first and after the last one. */
export function notarize({ notary, notes, now, witness }: SealedLog): CheckpointsOf {
  const tree = new MerkleTree()
  for (const note of notes) tree.append(leafHash(note))
  const signer = signerFromPem(notary.pem)
  const sizes = [...new Set([1, tree.size])]
  const cosigner = witness === undefined ? undefined : signerFromPem(witness.pem)
  const signed = sizes.map((size): [number, string] => {
    const checkpoint = { origin: ORIGIN, size, root: tree.root(size) }
    const seconds = Math.floor(now / 1000) + size
    const cosignature = cosigner?.cosignatureLine(formatCheckpoint(checkpoint), seconds + 1) ?? ''
    return [size, signCheckpoint(signer, checkpoint, seconds) + cosignature]
  })
  return { tree, sizes, notes: new Map(signed) }
}

/**
 * The bundle of a session, as an exporter makes it.
 * @param options - hide: records of which at most the leaf is in the bundle, as of another session.
 */
export function bundleOf(
  log: SealedLog,
  sessionId: string,
  { hide = () => false }: { hide?: (index: number, record: EvidenceRecord) => boolean } = {},
): Bundle {
  const all = log.events.map((bytes, index) => ({ bytes, record: readRecord(bytes, index) }))
  const own = all
    .filter(({ record }) => record.fields['session_id'] === sessionId)
    .toSorted(({ record: one }, { record: other }) => inOrder(one, other))
    .filter(({ record }, index) => !hide(index, record))
  const seals = log.notes.map((note, index) => ({ note, index, seal: parseProducerSeal(parseNote(note).text) }))
  const covering = seals
    .filter(({ seal }) => own.some(({ record }) => isIn(seal, record)))
    .toSorted(({ seal: one }, { seal: other }) =>
      inOrder({ runId: one.runId, runSeq: one.first }, { runId: other.runId, runSeq: other.first }),
    )
  const { tree, sizes, notes } = notarize(log)
  const fingerprints = new Set(own.map(({ bytes }) => fingerprintOf(bytes)))
  return {
    sessionId,
    trust: trustOf(log),
    schemas: SCHEMA_VERSIONS.filter(({ fingerprint }) => fingerprints.has(fingerprint)).map(({ text }) => text),
    records: own.map(({ bytes }) => bytes),
    seals: covering.map(({ note, index, seal }) => {
      const others = all
        .filter(({ record }) => isIn(seal, record) && !own.some((each) => each.record === record))
        .toSorted(({ record: one }, { record: other }) => one.runSeq - other.runSeq)
      const size = sizes.find((each) => each > index) ?? 0
      const leaves = Buffer.concat(others.map(({ record }) => record.leaf))
      return { note, leaves, proof: { index, hashes: tree.inclusionProof(index, size) } }
    }),
    log: sizes.map((size, at) => {
      return {
        note: notes.get(size) ?? '',
        consistency: at === 0 ? [] : tree.consistencyProof(sizes[at - 1] ?? 0, size),
      }
    }),
    report: reportOf(
      sessionId,
      own.map(({ bytes }) => bytes),
    ),
  }
}

export function reportOf(sessionId: string, records: readonly Buffer[]): string {
  return renderReport(sessionId, records.map(readRecord))
}

type Place = Pick<EvidenceRecord, 'runId' | 'runSeq'>

function inOrder(one: Place, other: Place): number {
  if (one.runId === other.runId) return one.runSeq - other.runSeq
  return one.runId < other.runId ? -1 : 1
}

function isIn({ runId, first, last }: ProducerSeal, record: EvidenceRecord): boolean {
  return record.runId === runId && first <= record.runSeq && record.runSeq <= last
}

function fingerprintOf(bytes: Buffer): bigint {
  const frame = readFrame(bytes)
  return frame.kind === 'single-object' ? frame.fingerprint : -1n
}

/** Stores the notes as the leaves of one log, and its checkpoints, in the tables of the notary. */
export async function storeSeals(store: Store, log: SealedLog): Promise<void> {
  await storeSealLog(store, 'audit', { notes: log.notes, checkpoints: [...notarize(log).notes.values()] })
}
