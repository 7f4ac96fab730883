/** An evidence bundle of one session: all that shows offline that its records are those that were sealed, and all of them. */
import {
  findSchema,
  IntegrityError,
  InvalidInputError,
  SCHEMA_VERSIONS,
  type SchemaVersion,
  singleObjectHeader,
  TrailError,
} from '@agent-audit/schemas'
import { openTrust, parseCheckpoint, parseNote, type Trust, type VerifierKey } from '@agent-audit/seals'
import {
  type Bundle,
  checkEvidence,
  type EvidenceRecord,
  type EvidenceReport,
  formatBundle,
  readRecord,
  renderReport,
  type SealEvidence,
} from '@agent-audit/seals/evidence'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { byIds, stretchesOf } from '../queries/stretches.ts'
import { type StoredRecord, storedRecords } from './record-rows.ts'
import { checkpointsFor, sealsOfRun, type StoredSeal, treeOf } from './seal-rows.ts'
import type { DecidedConflict, SealSlots } from './seal-slots.ts'
import { sealedRecords } from './sealed-records.ts'

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
  /** Numbers that several different records claim: the bundle has the one that the producer has sealed. */
  readonly decided: readonly DecidedConflict[]
}

/** A record with what it needs to be a message. */
interface SessionRow extends StoredRecord {
  readonly version: SchemaVersion
}

interface Message extends EvidenceRecord {
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
  const rows = await rowsOf(connection, analytics, sessionId)
  if (rows.length === 0) return undefined
  const stored = await sealsFor(analytics, rows, trust)
  const slots = await sealedRecords(analytics, stored, rows)
  const messages = ownMessages(sessionId, rows, slots)
  const versions = new Set(messages.map(({ version }) => version))
  const known = Map.groupBy(messages, ({ runId }) => runId)
  const leaves = slots.map((each) => {
    return each.leavesBeside(new Set(known.get(each.seal.runId)?.map(({ runSeq }) => runSeq)))
  })
  const bundle: Bundle = {
    sessionId,
    trust: options.trust,
    schemas: [...versions]
      .toSorted((one, other) => (one.fingerprint < other.fingerprint ? -1 : 1))
      .map(({ text }) => text),
    records: messages.map(({ bytes }) => bytes),
    ...(await proven(analytics, { stored, leaves, checkpoint: options.checkpoint })),
    report: renderReport(sessionId, messages),
  }
  const bytes = formatBundle(bundle)
  const decided = slots.flatMap((each) => each.conflicts())
  return { bundle: bytes, report: checkEvidence(bytes, options), decided }
}

/** The rows of the session by run_id and run_seq, then in the order of the log. */
async function rowsOf(connection: Analytics, analytics: Analytics, sessionId: string): Promise<SessionRow[]> {
  const stretches = await stretchesOf(connection, byIds([sessionId]))
  if (stretches.events === 0) return []
  const where = {
    condition: `e.session_id = {sessionId:String} AND ${stretches.condition}`,
    params: { ...stretches.parameters, sessionId },
  }
  const found = await Promise.all(
    SCHEMA_VERSIONS.map(async (version) => {
      const rows = await storedRecords(analytics, version, where)
      return rows.map((row): SessionRow => ({ ...row, version }))
    }),
  )
  return found.flat().toSorted(inOrder)
}

/**
 * The messages of the session, each number once: where a seal covers it, the producer's own record, wherever the trail has it; else
 * the first row in the log.
 */
function ownMessages(sessionId: string, rows: readonly SessionRow[], slots: readonly SealSlots[]): Message[] {
  const found = new Map<string, Message>()
  const decided = new Set<string>()
  const take = (version: SchemaVersion | undefined, body: Buffer): void => {
    const message = version === undefined ? undefined : readMessage(version, body)
    if (message?.fields['session_id'] === sessionId) found.set(`${message.runId} ${message.runSeq}`, message)
  }
  const id = Buffer.from(sessionId)
  for (const each of slots) {
    for (const { body, runSeq } of each.owns()) {
      if (each.isDecided) decided.add(`${each.seal.runId} ${runSeq}`)
      if (body.includes(id)) take(versionOf(each.seal.schema), body)
    }
  }
  for (const { version, body, runId, runSeq } of rows) {
    const place = `${runId} ${runSeq}`
    if (!decided.has(place) && !found.has(place)) take(version, body)
  }
  return [...found.values()].toSorted(inOrder)
}

/** Undefined: a record that the consumer has refused, and that no checker could read. */
function readMessage(version: SchemaVersion, body: Buffer): Message | undefined {
  const bytes = Buffer.concat([singleObjectHeader(version), body])
  try {
    return { ...readRecord(bytes, 0), bytes }
  } catch (error) {
    if (error instanceof TrailError) return undefined
    throw error
  }
}

function versionOf(schema: string): SchemaVersion | undefined {
  return findSchema(BigInt(`0x${schema}`))
}

function inOrder(one: Place, other: Place): number {
  return one.runId === other.runId ? one.runSeq - other.runSeq : one.runId < other.runId ? -1 : 1
}

type Place = Pick<StoredRecord, 'runId' | 'runSeq'>

async function sealsFor(analytics: Analytics, rows: readonly Place[], trust: Trust): Promise<StoredSeal[]> {
  const byRun = [...Map.groupBy(rows, ({ runId }) => runId)]
  const found = await Promise.all(
    byRun.map(([runId, own]) => sealsOfRun(analytics, { runId, numbers: own.map(({ runSeq }) => runSeq), trust })),
  )
  const seals = found.flat()
  const unknown = seals.find(({ seal }) => versionOf(seal.schema) === undefined)
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
