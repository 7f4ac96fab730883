/**
 * Looks in the log for the records that producers have sealed and the tables do not have, or have with other content, as long as the
 * log keeps them. First where the tables have no row: a consumer stores each offset as one row. Only if that does not give each seal
 * its records, the topic is read from its start.
 */
import { EVENTS_TABLE, readFrame, readIdentity, SKIPPED_TABLE, TrailError } from '@agent-audit/schemas'
import { LeafList } from '@agent-audit/seals'
import type { Analytics } from '../../connection/clickhouse.ts'
import { number, type Row, text } from '../../connection/rows.ts'
import type { CompletenessSummary } from '../../verify/completeness-report.ts'
import type { Range } from '../../verify/ranges.ts'
import type { Candidate, LeafSlots, Source } from '../rows/leaf-slots.ts'
import type { PassedPartition } from '../rows/row-pass.ts'
import { missingOf, type RunSeals } from '../rows/run-seals.ts'
import { SoughtSeal } from './sought-seal.ts'

/** What a log still keeps of a partition: offsets `[start, end)`. */
export interface KeptPartition {
  /** 16 hex digits. */
  readonly log: string
  readonly partition: number
  readonly start: number
  readonly end: number
}

/** Reads a log again; the command has one for Kafka, and one for an embedded log. */
export interface LogReader {
  /** @throws TrailError, if the topic cannot be read */
  kept(topic: string): Promise<readonly KeptPartition[]>
  /**
   * Gives each record of these ranges, by partition; those of a partition in order, some perhaps again.
   * @throws TrailError
   */
  read(
    topic: string,
    ranges: ReadonlyMap<number, readonly Range[]>,
    take: (partition: number, record: { readonly offset: number; readonly value: Buffer | null }) => void,
  ): Promise<void>
}

export interface LogSearchOptions {
  readonly analytics: Analytics
  readonly log: LogReader
  readonly runs: RunSeals
  readonly partitions: readonly PassedPartition[]
  /** Null: not all rows were read; then what was not read before is looked through first. */
  readonly completeness: CompletenessSummary | null
  /** Numbers that expiry notes name, by run. */
  readonly expired: ReadonlyMap<string, readonly Range[]>
  /** Milliseconds since 1970: a seal that came later may be here before its records. */
  readonly settledMs: number
  /** Told how many offsets of how many are read. */
  readonly onProgress?: ((read: number, total: number) => void) | undefined
}

export interface LogSearch {
  /** By `<run_id>:<leaf of the seal>`. */
  readonly seals: ReadonlyMap<string, SoughtSeal>
  /** By topic: what was kept. Absent: the topic could not be read. */
  readonly kept: ReadonlyMap<string, readonly KeptPartition[]>
  /** What was not looked for, in words. */
  readonly faults: readonly string[]
}

/** Leaves of all sought seals together: 32 bytes each. */
const MAX_LEAVES = 2 ** 21
/** Numbers for which the place of the stored record is asked for. */
const MAX_ASKED = 100
const PROGRESS_EVERY = 1000

export async function searchLog(options: LogSearchOptions): Promise<LogSearch> {
  const { log } = options
  const [seals, faults] = [new Map<string, SoughtSeal>(), [] as string[]]
  const kept = new Map<string, readonly KeptPartition[]>()
  let [left, unsought] = [MAX_LEAVES, 0]
  for (const slots of options.runs.allSlots()) {
    if (!isSought(slots, options)) continue
    if (slots.seal.count > left || !slots.keepsLeaves) {
      unsought++
      continue
    }
    left -= slots.seal.count
    seals.set(sealKey(slots.seal), new SoughtSeal(slots))
  }
  if (unsought > 0) faults.push(`in the log: ${unsought} more producer seals with missing or changed records`)
  const topics = Map.groupBy(seals.values(), ({ seal }) => seal.topic)
  for (const [topic, sought] of topics) {
    try {
      const found = await log.kept(topic)
      await searchTopic(topic, { ...options, kept: found, sought })
      kept.set(topic, found)
    } catch (error) {
      if (!(error instanceof TrailError)) throw error
      faults.push(`the log of ${topic}: ${error.message}`)
    }
  }
  await placeStored(options.analytics, seals.values())
  return { seals, kept, faults }
}

/** Whether the log may have records of a seal that the tables do not have, or have with other content. */
function isSought(slots: LeafSlots, { runs, expired, settledMs }: LogSearchOptions): boolean {
  slots.decide()
  if (slots.state !== 'open') return slots.state === 'wrong'
  const { anchoredMs, time, runId } = slots.seal
  if (settledMs <= (anchoredMs ?? time)) return false
  return missingOf(slots, [...runs.undelivered(runId), ...(expired.get(runId) ?? [])]).length > 0
}

export function sealKey({ runId, leaf }: { readonly runId: string; readonly leaf: number }): string {
  return `${runId}:${leaf}`
}

interface TopicSearch extends LogSearchOptions {
  readonly kept: readonly KeptPartition[]
  readonly sought: readonly SoughtSeal[]
}

async function searchTopic(topic: string, search: TopicSearch): Promise<void> {
  const { kept, sought } = search
  const likely = new Map(kept.map((one) => [one.partition, likelyRanges(one, search)]))
  await readRanges(topic, likely, search)
  // The digest proves which records are the producer's own: nothing else in the log could change that.
  if (sought.every((seal) => seal.decide())) return
  const whole = new Map(
    kept.map(({ partition, start, end }) => [partition, withoutEmpty([{ first: start, last: end - 1 }])]),
  )
  await readRanges(topic, whole, search)
  for (const seal of sought) seal.decide()
}

/** Without empty ones: a reader would wait for their records for ever. */
function withoutEmpty(ranges: readonly Range[]): Range[] {
  return ranges.filter(({ first, last }) => first <= last)
}

/** Offsets that the log keeps and no row has. */
function likelyRanges(
  { log, partition, start, end }: KeptPartition,
  { completeness, partitions }: TopicSearch,
): readonly Range[] {
  const within = (ranges: readonly Range[]): Range[] =>
    withoutEmpty(ranges.map(({ first, last }) => ({ first: Math.max(first, start), last: Math.min(last, end - 1) })))
  if (completeness === null) {
    const read = partitions.find((one) => one.log === log && one.partition === partition)
    return within([{ first: read?.first ?? start, last: end - 1 }])
  }
  const report = completeness.partitions.find((one) => one.log_id === log && one.partition === partition)
  if (report === undefined) return within([{ first: start, last: end - 1 }])
  const { first_offset, last_offset, gaps } = report
  return within([{ first: start, last: first_offset - 1 }, ...gaps, { first: last_offset + 1, last: end - 1 }])
}

async function readRanges(
  topic: string,
  ranges: ReadonlyMap<number, readonly Range[]>,
  { log, kept, sought, onProgress }: TopicSearch,
): Promise<void> {
  const wanted = new Map([...ranges].filter(([, one]) => one.length > 0))
  if (wanted.size === 0) return
  const byRun = Map.groupBy(sought, ({ seal }) => seal.runId)
  const keys = new Map(kept.map((one) => [one.partition, `${one.log}/${one.partition}`]))
  const total = [...wanted.values()].flat().reduce((sum, { first, last }) => sum + last - first + 1, 0)
  const leaves = new LeafList()
  let read = 0
  await log.read(topic, wanted, (partition, { offset, value }) => {
    if (++read % PROGRESS_EVERY === 0) onProgress?.(Math.min(read, total), total)
    if (value === null) return
    const frame = readFrame(value)
    const identity = frame.kind === 'unknown' ? undefined : readIdentity(value, frame.bodyStart)
    if (frame.kind === 'unknown' || identity === undefined) return
    for (const seal of byRun.get(identity.runId.toString('hex')) ?? []) {
      if (!seal.covers(identity.runSeq)) continue
      leaves.clear()
      leaves.add(value, frame.bodyStart, value.length)
      const leaf = leaves.leaves().toString('latin1')
      seal.take(identity.runSeq, { leaf, topic, partition: keys.get(partition) ?? '', offset })
    }
  })
}

const storedIn = (table: string, kind: string): string => `
  SELECT ${kind} AS kind, lower(hex(log_id)) AS log, log_partition, log_offset FROM {database:Identifier}.${table}
  WHERE run_id = unhex({run:String}) AND run_seq = {seq:Int64} ORDER BY log_id, log_partition, log_offset LIMIT 16`
const STORED = [
  storedIn(EVENTS_TABLE, "'event'"),
  storedIn(SKIPPED_TABLE, "if(kind = 'dead', 'dead letter', 'duplicate')"),
]

/** Asks for the places of stored records that are not the producer's own: a seal keeps their hashes alone. */
async function placeStored(analytics: Analytics, seals: Iterable<SoughtSeal>): Promise<void> {
  let asked = 0
  for (const { seal, contests } of seals) {
    for (const contest of contests) {
      const unplaced = contest.others.filter((one): one is Candidate => 'kind' in one && one.offset < 0)
      if (unplaced.length === 0 || ++asked > MAX_ASKED) continue
      const places: Source[] = []
      for (const query of STORED) {
        for (const row of await analytics.rows<Row>(query, { run: seal.runId, seq: contest.seq })) {
          const partition = `${text(row, 'log')}/${text(row, 'log_partition')}`
          places.push({ kind: text(row, 'kind') as Source['kind'], partition, offset: number(row, 'log_offset') })
        }
      }
      const [only] = places
      if (only !== undefined && places.length === 1) contest.placed = only
    }
  }
}
