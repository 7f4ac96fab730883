/** Evidence bundles of really sealed runs, made without a server: from the messages of an embedded log and its topic of seals. */
import { createAuditTrail } from '@agent-audit/producer'
import { readFrame, SCHEMA_VERSIONS } from '@agent-audit/schemas'
import {
  EMPTY_TRUST,
  formatTrust,
  leafHash,
  MerkleTree,
  parseNote,
  parseProducerSeal,
  type ProducerSeal,
  signCheckpoint,
  signerFromPem,
  type Trust,
} from '@agent-audit/seals'
import { type Bundle, type EvidenceRecord, readRecord, renderReport } from '@agent-audit/seals/evidence'
import { newKey, readMessages, type TestKey } from './sealed-runs.ts'

export const ORIGIN = 'trail.example/audit.events'
export const HOSTILE = `<script>alert(1)</script>&"'\u202e\u0000\u001b[2J<img src=x onerror=alert(1)>\u{e0041}</dd>`
/** More than one seal holds. */
const OTHER_EVENTS = 1500
const NOW = Date.now()
const NOTARY_TIME = Math.floor(NOW / 1000)
const YEAR_MS = 365 * 86_400_000

/** What a run has left in its log. */
export interface SealedLog {
  readonly producer: TestKey
  readonly notary: TestKey
  /** Messages of the topic of events. */
  readonly events: readonly Buffer[]
  /** Notes of the topic of seals, each once. */
  readonly notes: readonly string[]
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
  return { ...keys, events, notes: [...new Set(notes)] }
}

/** A trust file of the keys. */
export function trustOf({ producer, notary }: SealedLog, change: Partial<Trust> = {}): string {
  const key = { notBefore: NOW - YEAR_MS, notAfter: undefined, revoked: undefined }
  const keys = [
    { ...key, key: producer.verifier, role: 'producer' as const },
    { ...key, key: notary.verifier, role: 'notary' as const },
  ]
  return formatTrust({ ...EMPTY_TRUST, keys, producers: ['agent-1'], origin: ORIGIN, ...change })
}

export interface CheckpointsOf {
  readonly tree: MerkleTree
  readonly sizes: readonly number[]
  /** By size. */
  readonly notes: ReadonlyMap<number, string>
}

/** The log of all notes, with a checkpoint after the first and after the last one. */
export function notarize({ notary, notes }: SealedLog): CheckpointsOf {
  const tree = new MerkleTree()
  for (const note of notes) tree.append(leafHash(note))
  const signer = signerFromPem(notary.pem)
  const sizes = [...new Set([1, tree.size])]
  const signed = sizes.map((size): [number, string] => {
    return [size, signCheckpoint(signer, { origin: ORIGIN, size, root: tree.root(size) }, NOTARY_TIME + size)]
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
