/** What expiry notes say of the offsets of each partition, compared with the rows. */
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'
import { CLAIMS, NOTED, NOTED_ROWS, RUN_NOTES_OF } from './expiry-queries.ts'
import { countRange, type Range, rangeOf } from './ranges.ts'

export interface NotedOffsets {
  readonly log_id: string
  readonly partition: number
  /** Noted offsets, ascending, without overlaps. */
  readonly ranges: readonly Range[]
  /** Noted offsets without a row. */
  readonly expired: number
  /** Noted offsets whose rows, of the noted class and month, are there still. */
  readonly expiring: number
  /** Noted offsets that the rows contradict. */
  readonly overstated: number
}

/** Keys are `<log_id>/<partition>`. */
export async function notedOffsets(analytics: Analytics): Promise<Map<string, NotedOffsets>> {
  const noted = Map.groupBy(await analytics.rows<Row>(NOTED), partitionOf)
  if (noted.size === 0) return new Map()
  const present = byPartition(await analytics.rows<Row>(NOTED_ROWS))
  const claims = byPartition(await analytics.rows<Row>(CLAIMS))
  const entries = [...noted].map(([key, rows]): [string, NotedOffsets] => {
    const ranges = rows.map((row) => ({ first: number(row, 'first'), last: number(row, 'last') }))
    const count = ranges.reduce((sum, range) => sum + countRange(range), 0)
    const [rowsThere, own] = [figure(present.get(key), 'present'), figure(present.get(key), 'own')]
    const claimedTwice = figure(claims.get(key), 'claimed') - count
    const [log_id = '', partition] = key.split('/')
    return [
      key,
      {
        log_id,
        partition: Number(partition),
        ranges,
        expired: count - rowsThere,
        expiring: own,
        overstated: rowsThere - own + claimedTwice + figure(claims.get(key), 'late'),
      },
    ]
  })
  return new Map(entries)
}

const RUNS_AT_ONCE = 10_000

/** The numbers of runs that expiry notes name, by run_id. */
export async function notedNumbers(analytics: Analytics, runs: readonly string[]): Promise<Map<string, Range[]>> {
  const noted = new Map<string, Range[]>()
  for (let at = 0; at < runs.length; at += RUNS_AT_ONCE) {
    const rows = await analytics.rows<Row>(RUN_NOTES_OF, { runs: runs.slice(at, at + RUNS_AT_ONCE) })
    for (const [run, own] of Map.groupBy(rows, (row) => text(row, 'run_id_hex'))) noted.set(run, own.flatMap(rangeOf))
  }
  return noted
}

function figure(row: Row | undefined, key: string): number {
  return row === undefined ? 0 : number(row, key)
}

function byPartition(rows: readonly Row[]): Map<string, Row> {
  return new Map(rows.map((row) => [partitionOf(row), row]))
}

export function partitionOf(row: Row): string {
  return `${text(row, 'log_id_hex')}/${text(row, 'log_partition')}`
}
