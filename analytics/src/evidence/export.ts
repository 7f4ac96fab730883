/** An evidence bundle of one session: all that shows offline that its records are those that were sealed, and all of them. */
import {
  findSchema,
  IntegrityError,
  InvalidInputError,
  SCHEMA_VERSIONS,
  type SchemaVersion,
  singleObjectHeader,
} from '@agent-audit/schemas'
import { openTrust, parseCheckpoint, parseNote, type Trust, type VerifierKey } from '@agent-audit/seals'
import {
  type Bundle,
  checkEvidence,
  type EvidenceReport,
  formatBundle,
  readRecord,
  renderReport,
  type SealEvidence,
} from '@agent-audit/seals/evidence'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { byIds, stretchesOf } from '../queries/stretches.ts'
import { leavesOf } from './leaves.ts'
import { storedRecords } from './record-rows.ts'
import { checkpointsFor, sealsOfRun, type StoredSeal, treeOf } from './seal-rows.ts'

export interface EvidenceOptions {
  /** The text of the trust file: it goes into the bundle. */
  readonly trust: string
  /** The key that must have signed it. */
  readonly root?: VerifierKey | undefined
  /** The note of a checkpoint that was kept outside: the bundle shows that its log is the log of that checkpoint. */
  readonly checkpoint?: string | undefined
}

export interface Evidence {
  readonly bundle: Buffer
  /** What a check of the bundle with the same trust file says. */
  readonly report: EvidenceReport
}

interface Message {
  readonly runId: string
  readonly runSeq: number
  readonly version: SchemaVersion
  readonly bytes: Buffer
}

/**
 * Makes the bundle of a session. It is made also where the check finds something: that is what the report says.
 * @returns undefined if no event of the session is stored.
 * @throws InvalidInputError `OPTIONS_INVALID`; IntegrityError `SEAL_INVALID`, `SIGNATURE_INVALID` for a wrong trust file or checkpoint,
 * and if a record that a seal covers is nowhere in the trail; TrailError as {@link Analytics.rows}.
 */
export async function exportEvidence(
  connection: Analytics,
  sessionId: string,
  options: EvidenceOptions,
): Promise<Evidence | undefined> {
  if (sessionId === '') throw new InvalidInputError('OPTIONS_INVALID', 'expected a session_id that is not empty')
  const trust = openTrust(options.trust, options.root)
  const { analytics } = await withoutQuarantined(connection)
  const messages = await messagesOf(connection, analytics, sessionId)
  if (messages.length === 0) return undefined
  const stored = await sealsFor(analytics, messages, trust)
  const records = messages.map(({ bytes }) => bytes)
  const leaves = await leavesOf(analytics, stored, messages)
  const versions = new Set(messages.map(({ version }) => version))
  const bundle: Bundle = {
    sessionId,
    trust: options.trust,
    schemas: [...versions]
      .toSorted((one, other) => (one.fingerprint < other.fingerprint ? -1 : 1))
      .map(({ text }) => text),
    records,
    ...(await proven(analytics, { stored, leaves, checkpoint: options.checkpoint })),
    report: renderReport(sessionId, records.map(readRecord)),
  }
  const bytes = formatBundle(bundle)
  return { bundle: bytes, report: checkEvidence(bytes, options) }
}

/** The records of the session by run_id and run_seq, each once: of several with one number, the first in the log. */
async function messagesOf(connection: Analytics, analytics: Analytics, sessionId: string): Promise<Message[]> {
  const stretches = await stretchesOf(connection, byIds([sessionId]))
  if (stretches.events === 0) return []
  const where = {
    condition: `e.session_id = {sessionId:String} AND ${stretches.condition}`,
    params: { ...stretches.parameters, sessionId },
  }
  const found = new Map<string, Message>()
  for (const version of SCHEMA_VERSIONS) {
    const header = singleObjectHeader(version)
    for (const { body, runId, runSeq } of await storedRecords(analytics, version, where)) {
      const place = `${runId} ${runSeq}`
      if (!found.has(place)) found.set(place, { runId, runSeq, version, bytes: Buffer.concat([header, body]) })
    }
  }
  return [...found.values()].toSorted((one, other) => {
    return one.runId === other.runId ? one.runSeq - other.runSeq : one.runId < other.runId ? -1 : 1
  })
}

async function sealsFor(analytics: Analytics, messages: readonly Message[], trust: Trust): Promise<StoredSeal[]> {
  const byRun = Map.groupBy(messages, ({ runId }) => runId)
  const seals: StoredSeal[] = []
  for (const [runId, own] of byRun) {
    seals.push(...(await sealsOfRun(analytics, { runId, numbers: own.map(({ runSeq }) => runSeq), trust })))
  }
  const unknown = seals.find(({ seal }) => findSchema(BigInt(`0x${seal.schema}`)) === undefined)
  if (unknown === undefined) return seals
  const { schema } = unknown.seal
  throw new InvalidInputError(
    'SCHEMA_UNKNOWN',
    `a seal of the session names the schema ${schema}, which is not known here`,
  )
}

interface Sealed {
  readonly stored: readonly StoredSeal[]
  readonly leaves: readonly Buffer[]
  readonly checkpoint: string | undefined
}

/** The seals with their proofs, and the checkpoints that these lead to. */
async function proven(
  analytics: Analytics,
  { stored, leaves, checkpoint }: Sealed,
): Promise<Pick<Bundle, 'seals' | 'log'>> {
  const [log, ...others] = new Set(stored.map((each) => each.log))
  if (log === undefined) return { seals: [], log: [] }
  if (others.length > 0) {
    const message = `the seals of the session are in ${others.length + 1} logs, of topics of their own; a bundle has one log`
    throw new IntegrityError('SEAL_INVALID', message)
  }
  const notes = await checkpointsFor(
    analytics,
    log,
    stored.map(({ index }) => index),
  )
  if (checkpoint !== undefined) {
    const { size } = parseCheckpoint(parseNote(checkpoint).text)
    if (!notes.has(size)) notes.set(size, checkpoint)
  }
  const sizes = [...notes.keys()].toSorted((one, other) => one - other)
  const tree = await treeOf(analytics, log, sizes.at(-1) ?? 0)
  return {
    seals: stored.map(({ note, index }, at): SealEvidence => {
      const size = sizes.find((each) => each > index)
      const proof = size === undefined ? undefined : { index, hashes: tree.inclusionProof(index, size) }
      return { note, leaves: leaves[at] ?? Buffer.alloc(0), proof }
    }),
    log: sizes.map((size, at) => {
      const before = sizes[at - 1]
      return {
        note: notes.get(size) ?? '',
        consistency: before === undefined ? [] : tree.consistencyProof(before, size),
      }
    }),
  }
}
