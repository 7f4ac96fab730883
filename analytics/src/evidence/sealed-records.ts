/**
 * What the seals of a session cover, read from the trail: its own records, and those of other sessions, of which the bundle has the
 * leaves. A seal covers what a producer recorded within a second, so its records stand near each other in the log's time, for
 * which the table has an index: the rest of the table is read only where a seal's digest does not come out.
 */
import { findSchema, IntegrityError, readFrame, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { storedRecords } from './record-rows.ts'
import type { StoredSeal } from './seal-rows.ts'
import { SealSlots } from './seal-slots.ts'

/** Seals that one query reads: at most 20 times 1,024 records, but for a slow signer. */
const SEALS_OF_QUERY = 20
/** Queries at a time. */
const AT_ONCE = 3
/** Records are looked for that near to those of the session, then farther, then everywhere; milliseconds. */
const NEAR_MS = [1000, 60_000] as const
/** Of one number: more claim it only where the table was forged. */
const MAX_CLAIMS = 16

/** A record of the session, as the table of events has it. */
export interface SessionRecord {
  readonly runId: string
  readonly runSeq: number
  readonly body: Buffer
  readonly place: string
  /** When the log took it. */
  readonly logTimeMs: number
}

/**
 * @param session - The session's records in the table of events; several may have one number.
 * @throws IntegrityError `SEAL_INVALID`, if a sealed record is nowhere in the trail: without its leaf the seal proves nothing.
 */
export async function sealedRecords(
  analytics: Analytics,
  seals: readonly StoredSeal[],
  session: readonly SessionRecord[],
): Promise<SealSlots[]> {
  const byRun = Map.groupBy(session, ({ runId }) => runId)
  const slots = seals.map(({ seal }) => slotsOf(seal, byRun.get(seal.runId) ?? []))
  const groups = [...Map.groupBy(slots, ({ all: { seal } }) => `${seal.runId} ${seal.schema}`).values()].flatMap(
    inQueries,
  )
  // Each takes the next group when it has finished one.
  const next = groups.values()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const group of next) await fill(analytics, group)
    }),
  )
  return slots.map(({ all }) => whole(all))
}

interface Wanted {
  readonly all: SealSlots
  /** When the log took the session's records of the seal: first and last. */
  readonly times: readonly [number, number]
}

function slotsOf(seal: StoredSeal['seal'], session: readonly SessionRecord[]): Wanted {
  const all = new SealSlots(seal)
  const own = session.filter(({ runSeq }) => seal.first <= runSeq && runSeq <= seal.last)
  for (const record of own) all.add(record)
  const times = own.map(({ logTimeMs }) => logTimeMs)
  all.decide()
  return { all, times: [Math.min(...times), Math.max(...times)] }
}

function inQueries(group: readonly Wanted[]): Wanted[][] {
  return Array.from({ length: Math.ceil(group.length / SEALS_OF_QUERY) }, (_, index) =>
    group.slice(index * SEALS_OF_QUERY, (index + 1) * SEALS_OF_QUERY),
  )
}

/** @param group - Of one run and one schema. */
async function fill(analytics: Analytics, group: readonly Wanted[]): Promise<void> {
  const steps: ((open: readonly Wanted[]) => Promise<void>)[] = [
    ...NEAR_MS.map((nearMs) => (open: readonly Wanted[]) => readEvents(analytics, open, nearMs)),
    // What the consumer refused, or took for a repetition, is there with all of its bytes.
    (open) => readSkipped(analytics, open),
    (open) => readEvents(analytics, open, undefined),
  ]
  for (const step of steps) {
    const open = group.filter(({ all }) => !all.isDecided)
    if (open.length === 0) return
    await step(open)
    for (const { all } of open) all.decide()
  }
}

async function readEvents(analytics: Analytics, open: readonly Wanted[], nearMs: number | undefined): Promise<void> {
  const [first] = open
  const version = first === undefined ? undefined : findSchema(BigInt(`0x${first.all.seal.schema}`))
  if (version === undefined) return
  const near = nearMs === undefined ? undefined : windowsOf(open, nearMs)
  const rows = await storedRecords(analytics, version, {
    condition: near === undefined ? IN_SEALS : `${IN_SEALS} AND (${near.condition})`,
    params: { ...paramsOf(open), ...near?.params },
    most: MAX_CLAIMS,
  })
  for (const row of rows) for (const { all } of open) all.add(row)
}

/** As constants beside the column: an array of them would not be looked up in the index. */
function windowsOf(open: readonly Wanted[], nearMs: number): { condition: string; params: Record<string, number> } {
  const merged: [number, number][] = []
  for (const [first, last] of open.map(({ times }) => times).toSorted((one, other) => one[0] - other[0])) {
    const before = merged.at(-1)
    if (before !== undefined && first - nearMs <= before[1]) before[1] = Math.max(before[1], last + nearMs)
    else merged.push([first - nearMs, last + nearMs])
  }
  const conditions = merged.map((_, index) => {
    const [from, to] = [`{from${index}:Int64}`, `{to${index}:Int64}`]
    return `e.log_time BETWEEN fromUnixTimestamp64Milli(${from}) AND fromUnixTimestamp64Milli(${to})`
  })
  const params = merged.flatMap(([from, to], index) => [
    [`from${index}`, from],
    [`to${index}`, to],
  ])
  return { condition: conditions.join(' OR '), params: Object.fromEntries(params) as Record<string, number> }
}

const IN_SEALS = `e.run_id = unhex({runId:String})
  AND arrayExists((first, last) -> e.run_seq BETWEEN first AND last, {firsts:Array(Int64)}, {lasts:Array(Int64)})`

function paramsOf(open: readonly Wanted[]): Record<string, unknown> {
  const seals = open.map(({ all }) => all.seal)
  return { runId: seals[0]?.runId, firsts: seals.map(({ first }) => first), lasts: seals.map(({ last }) => last) }
}

async function readSkipped(analytics: Analytics, open: readonly Wanted[]): Promise<void> {
  const rows = await analytics.rows<{ kind: string; seq: string; value: string; place: string }>(
    `SELECT e.kind AS kind, toString(e.run_seq) AS seq, hex(e.value) AS value,
       concat(toString(e.log_partition), '/', toString(e.log_offset)) AS place
     FROM {database:Identifier}.${SKIPPED_TABLE} AS e
     WHERE e.value IS NOT NULL AND ${IN_SEALS}
     ORDER BY e.log_id, e.log_partition, e.log_offset LIMIT ${MAX_CLAIMS} BY e.run_seq`,
    paramsOf(open),
  )
  for (const { kind, seq, value, place } of rows) {
    const message = Buffer.from(value, 'hex')
    const frame = readFrame(message)
    if (frame.kind === 'unknown') continue
    const body = message.subarray(frame.bodyStart)
    const name = kind === 'dead' ? 'dead letter' : kind
    for (const { all } of open) all.add({ runSeq: Number(seq), body, place: `the ${name} at ${place}` })
  }
}

function whole(slots: SealSlots): SealSlots {
  const missing = slots.missing()
  if (missing.length === 0) return slots
  const { runId, number, first, last } = slots.seal
  const named = missing.slice(0, 5).join(', ')
  const message = `seal ${number} of run ${runId} covers run_seq ${first} to ${last}, and the trail does not have ${named}: without them it proves nothing; agent-audit verify says what is missing`
  throw new IntegrityError('SEAL_INVALID', message)
}
