/** Checks that every offset of every partition is accounted for once, or has expired. */
import { askInChunks } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'
import type { PartitionReport } from './completeness-report.ts'
import { type CheckedDuplicates, checkDuplicates } from './check-duplicates.ts'
import { ALTERED_OFFSETS, LOGS, OFFSET_STEPS, PARTITIONS } from './completeness-queries.ts'
import { type NotedOffsets, notedOffsets, partitionOf } from './expired-offsets.ts'
import { type Range, split } from './ranges.ts'
import { isRepeat, sortSteps } from './steps.ts'

/** @param limit - Most gaps and repeats to name. */
export async function checkPartitions(
  analytics: Analytics,
  limit: number,
): Promise<{ reports: PartitionReport[]; truncated: boolean }> {
  const rows = await analytics.rows<Row>(PARTITIONS)
  // After the rows: what was dropped before they were read was noted before that.
  const notes = await notedOffsets(analytics)
  const logs = new Map((await analytics.rows<Row>(LOGS)).map((row) => [text(row, 'log_id_hex'), row]))
  const uneven = rows.some(
    (row) => number(row, 'rows') !== number(row, 'different') || number(row, 'span') !== number(row, 'different'),
  )
  const found = uneven ? await analytics.rows<Row>(OFFSET_STEPS, { limit }) : []
  const steps = Map.groupBy(found, partitionOf)
  const altered = await findAltered(analytics, found.filter(isRepeat))
  const reports = [...rows, ...expiredWhole(rows, notes)].map((row) => {
    const partition = partitionOf(row)
    const { gaps, repeats } = sortSteps(steps.get(partition))
    return {
      ...identityOf(row, logs.get(text(row, 'log_id_hex'))),
      events: number(row, 'events'),
      duplicates: number(row, 'duplicates'),
      dead_letters: number(row, 'dead_letters'),
      holes: number(row, 'holes'),
      ...missingOf(row, gaps, notes.get(partition)),
      repeated: number(row, 'rows') - number(row, 'different'),
      repeats: repeats.map(({ at, times }) => ({
        offset: at,
        times: times + 1,
        altered: altered.has(`${partition}/${at}`),
      })),
    }
  })
  const checked = await withConflicts(analytics, reports.toSorted(byPosition), limit)
  const unnamed = checked.some(({ conflicts, conflicting }) => conflicting.length < conflicts)
  return { reports: checked, truncated: unnamed || found.length >= limit }
}

async function withConflicts(
  analytics: Analytics,
  reports: readonly Omit<PartitionReport, keyof CheckedDuplicates>[],
  limit: number,
): Promise<PartitionReport[]> {
  const checked: PartitionReport[] = []
  let left = limit
  for (const report of reports) {
    const found = report.duplicates === 0 ? NO_DUPLICATES : await checkDuplicates(analytics, report, left)
    left -= found.conflicting.length
    checked.push({ ...report, ...found })
  }
  return checked
}

const NO_DUPLICATES: CheckedDuplicates = { conflicts: 0, conflicting: [], uncompared: 0 }

/** Rows, as of the query, for partitions that have notes alone: all of theirs has expired. */
function expiredWhole(rows: readonly Row[], notes: ReadonlyMap<string, NotedOffsets>): Row[] {
  const stored = new Set(rows.map(partitionOf))
  const none = { rows: 0, different: 0, events: 0, duplicates: 0, dead_letters: 0, holes: 0, first: null, last: null }
  return [...notes]
    .filter(([partition]) => !stored.has(partition))
    .map(([, { log_id, partition }]) => ({ log_id_hex: log_id, log_partition: partition, ...none }))
}

type Missing = Pick<
  PartitionReport,
  'first_offset' | 'last_offset' | 'missing' | 'gaps' | 'expired' | 'expiring' | 'overstated'
>

/** @param between - The gaps between two rows. */
function missingOf(row: Row, between: readonly Range[], notes: NotedOffsets | undefined): Missing {
  const stored = row['first'] === null ? undefined : { first: number(row, 'first'), last: number(row, 'last') }
  const ranges = notes?.ranges ?? []
  const first_offset = Math.min(...[stored?.first, ranges[0]?.first].filter((offset) => offset !== undefined))
  const last_offset = Math.max(...[stored?.last, ranges.at(-1)?.last].filter((offset) => offset !== undefined))
  const { first, last } = stored ?? { first: last_offset + 1, last: last_offset }
  const empty = [{ first: first_offset, last: first - 1 }, ...between, { first: last + 1, last: last_offset }]
  const { expired = 0, expiring = 0, overstated = 0 } = notes ?? {}
  return {
    first_offset,
    last_offset,
    // Rows that were dropped since they were counted have expired too.
    missing: Math.max(0, last_offset - first_offset + 1 - number(row, 'different') - expired),
    gaps: split(
      empty.filter((range) => range.first <= range.last),
      ranges,
    ).outside,
    expired,
    expiring,
    overstated,
  }
}

type Position = Pick<PartitionReport, 'log_id' | 'partition'>

function byPosition(a: Position, b: Position): number {
  return a.log_id === b.log_id ? a.partition - b.partition : a.log_id < b.log_id ? -1 : 1
}

function identityOf(
  row: Row,
  log: Row | undefined,
): Pick<PartitionReport, 'log_id' | 'topic' | 'source_id' | 'partition'> {
  return {
    log_id: text(row, 'log_id_hex'),
    topic: log === undefined ? null : text(log, 'topic'),
    source_id: log === undefined ? null : text(log, 'source_id'),
    partition: number(row, 'log_partition'),
  }
}

async function findAltered(analytics: Analytics, repeats: readonly Row[]): Promise<Set<string>> {
  const rows = await askInChunks(repeats, (piece) => {
    return analytics.rows<Row>(ALTERED_OFFSETS, {
      logs: piece.map((row) => text(row, 'log_id_hex')),
      partitions: piece.map((row) => number(row, 'log_partition')),
      offsets: piece.map((row) => number(row, 'at')),
    })
  })
  return new Set(rows.map((row) => `${partitionOf(row)}/${text(row, 'log_offset')}`))
}
