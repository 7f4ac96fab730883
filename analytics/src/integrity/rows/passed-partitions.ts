/** Which partitions are read, from where on, and what of them no consumer has sealed. */
import { EVENTS_TABLE, InvalidInputError, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Trust } from '@agent-audit/seals'
import type { Analytics } from '../../connection/clickhouse.ts'
import { number, type Row, text } from '../../connection/rows.ts'
import { type StoredPartition, storedPartitions } from '../../queries/log-ranges.ts'
import { notedOffsets } from '../../verify/expired-offsets.ts'
import type { Range } from '../../verify/ranges.ts'
import { chainOfPartition } from '../seal-log/chains.ts'
import type { Findings } from '../findings.ts'
import { PartitionSeals } from './partition-seals.ts'
import type { PassedPartition } from './row-pass.ts'
import type { Times } from './unsealed-records.ts'
import type { SealBook } from '../seal-log/seal-book.ts'
import type { TakenOver, TakenSeal } from '../increments/taken-over.ts'

/** Offsets that a log can have, and a number holds exactly. A row may stand at any other: it is named, and not read. */
const OFFSETS: Range = { first: 0, last: Number.MAX_SAFE_INTEGER - 1 }
/** The largest that both a number and an Int64 hold. */
const LARGEST = 2 ** 63 - 1024

export interface PartitionChoice {
  /** Reads the rows of this partition alone, of this log or of each that has one of that number. @defaultValue all */
  readonly partition?: { readonly log?: string | undefined; readonly partition: number } | undefined
  /** Reads the rows that were appended since then, milliseconds since 1970, from the seal on that holds the first one. */
  readonly since?: number | undefined
}

interface Parts {
  readonly book: SealBook
  readonly taken: TakenOver | undefined
  readonly findings: Findings
}

/**
 * The partitions with rows, or with seals whose rows are gone.
 * @throws InvalidInputError `OPTIONS_INVALID`, if the chosen one does not exist
 */
export async function partitionsToRead(
  analytics: Analytics,
  choice: PartitionChoice,
  { book, taken, findings }: Parts,
): Promise<PassedPartition[]> {
  const stored = (await storedPartitions(analytics)).map((partition) => withinLog(partition, findings))
  const noted = await notedOffsets(analytics)
  const keys = new Set(stored.map(({ log, partition }) => `${log}/${partition}`))
  const alone = [...book.partitions.keys(), ...(taken?.partitions.keys() ?? [])].filter((key) => !keys.has(key))
  const gone = [...new Set(alone)].map((key) => {
    const [log = '', partition] = key.split('/')
    return { log, partition: Number(partition), first: 0, last: -1 }
  })
  const found = chosen([...stored, ...gone], choice)
  const starts = choice.since === undefined ? undefined : await startsOf(analytics, choice.since)
  return found.flatMap(({ log, partition, first, last }): PassedPartition[] => {
    const key = `${log}/${partition}`
    const before = taken?.partitions.get(key)
    const chain = chainOfPartition(book.partitions.get(key) ?? [], findings, before)
    const expired = noted.get(key)?.ranges ?? []
    expectRead({ log, partition, last }, before, { findings, isExpired: expired.length > 0 })
    const start = starts === undefined ? (before === undefined ? first : before.last + 1) : starts.get(key)
    if (start === undefined) return []
    const from = starts === undefined ? start : (chain.find((seal) => seal.last >= start)?.first ?? start)
    const seals = new PartitionSeals(starts === undefined ? chain : chain.filter((seal) => seal.last >= from))
    return [
      { log, partition, key, first: Math.min(from, start), last, seals, expired, readTo: before?.offsetsTo ?? -1 },
    ]
  })
}

function withinLog(found: StoredPartition, findings: Findings): StoredPartition {
  const { log: log_id, partition, first, last } = found
  if (first >= OFFSETS.first && last <= OFFSETS.last) return found
  const place = { log_id, partition, first_offset: first, last_offset: Math.min(last, LARGEST) }
  findings.add('tampering', 'record-inserted', 'a row stands at an offset that no log has', place)
  return { ...found, first: Math.max(first, OFFSETS.first), last: Math.min(last, OFFSETS.last) }
}

/** Rows that were verified before, at the end of a partition, are still there. */
function expectRead(
  { log: log_id, partition, last }: { readonly log: string; readonly partition: number; readonly last: number },
  before: TakenSeal | undefined,
  { findings, isExpired }: { readonly findings: Findings; readonly isExpired: boolean },
): void {
  if (before === undefined || last >= before.offsetsTo || isExpired) return
  const place = { log_id, partition, first_offset: last + 1, last_offset: before.offsetsTo }
  findings.add('tampering', 'rows-changed', 'rows that verify has read before are gone', place)
}

function chosen<Partition extends { readonly log: string; readonly partition: number }>(
  partitions: readonly Partition[],
  { partition: asked }: PartitionChoice,
): readonly Partition[] {
  if (asked === undefined) return partitions
  const found = partitions.filter((one) => one.partition === asked.partition && (asked.log ?? one.log) === one.log)
  if (found.length > 0) return found
  const known = partitions.map(({ log, partition }) => `${log}/${partition}`).slice(0, 20)
  throw new InvalidInputError(
    'OPTIONS_INVALID',
    `no such partition is stored or sealed; there are: ${known.join(', ')}`,
  )
}

const SINCE = [EVENTS_TABLE, SKIPPED_TABLE].map(
  (table) => `
  SELECT lower(hex(log_id)) AS log, log_partition, min(log_offset) AS first FROM {database:Identifier}.${table}
  WHERE log_time >= fromUnixTimestamp64Milli({since:Int64}) GROUP BY log_id, log_partition`,
)

/** The first offset of each partition that was appended since a time. */
async function startsOf(analytics: Analytics, since: number): Promise<Map<string, number>> {
  const starts = new Map<string, number>()
  for (const query of SINCE) {
    for (const row of await analytics.rows<Row>(query, { since })) {
      const key = `${text(row, 'log')}/${text(row, 'log_partition')}`
      starts.set(key, Math.min(number(row, 'first'), starts.get(key) ?? Infinity))
    }
  }
  return starts
}

/** Tells how much of all is read. */
export function counting(
  partitions: readonly PassedPartition[],
  onProgress: ((read: number, total: number) => void) | undefined,
): (offsets: number) => void {
  const total = partitions.reduce((sum, { first, last }) => sum + Math.max(0, last - first + 1), 0)
  let read = 0
  return (offsets) => onProgress?.((read += offsets), total)
}

export interface UnsealedOffsets {
  /** Rows from before the consumers' keys. */
  readonly before: number
  /** Rows that may still be sealed. */
  readonly waiting: number
}

/** Judges the rows that no consumer has sealed. @param trust - Undefined: no key is checked. */
export function judgePartitions(
  partitions: readonly PassedPartition[],
  { trust, findings, settledMs, nowMs }: Omit<Times, 'youngMs'> & { trust: Trust | undefined; findings: Findings },
): UnsealedOffsets {
  const times = trust?.keys.filter(({ role }) => role === 'consumer').map(({ notBefore }) => notBefore)
  let [before, waiting] = [0, 0]
  for (const { log, partition, seals } of partitions) {
    const { unsealed } = seals
    if (unsealed === undefined) continue
    const since = times === undefined ? (seals.seals.length > 0 ? -Infinity : Infinity) : Math.min(...times)
    const isTail = unsealed.first > seals.sealedTo
    if (unsealed.newestMs < since) before += unsealed.count
    else if (isTail && unsealed.oldestMs >= settledMs && unsealed.newestMs <= nowMs + (nowMs - settledMs))
      waiting += unsealed.count
    else {
      const tail = isTail ? 'behind the last seal' : 'between or before seals'
      const place = { log_id: log, partition, first_offset: unsealed.first, last_offset: unsealed.last }
      findings.add('incomplete', 'rows-unsealed', `${unsealed.count} row(s) not sealed by a consumer, ${tail}`, place)
    }
  }
  return { before, waiting }
}
