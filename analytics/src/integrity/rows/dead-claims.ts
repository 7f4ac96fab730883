/** Numbers of stored events that dead letters claim too: their seals must say which record is the producer's own. */
import { EVENTS_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../../connection/clickhouse.ts'
import { number, type Row, text } from '../../connection/rows.ts'
import type { RunSeals } from './run-seals.ts'

/** Numbers of dead letters that are looked up among the events. */
const MAX_NUMBERS = 100_000

const CLAIMED = `
  SELECT DISTINCT assumeNotNull(run_id) AS run, assumeNotNull(run_seq) AS seq FROM {database:Identifier}.${SKIPPED_TABLE}
  WHERE kind = 'dead' AND run_id IS NOT NULL AND run_seq >= 0 LIMIT {limit:UInt32}`
const COUNT = `SELECT count() AS claimed FROM (${CLAIMED})`
const STORED = `
  SELECT DISTINCT lower(hex(run_id)) AS run, run_seq AS seq FROM {database:Identifier}.${EVENTS_TABLE}
  PREWHERE (run_id, run_seq) IN (${CLAIMED})`

/**
 * Before the pass: once the slots of a seal are full its leaves are forgotten, and a dead letter that comes later could not be compared.
 * @returns what is not compared, if any
 */
export async function contestDeadClaims(analytics: Analytics, runs: RunSeals): Promise<string | undefined> {
  const params = { limit: MAX_NUMBERS }
  const [count] = await analytics.rows<Row>(COUNT, params)
  const claimed = count === undefined ? 0 : number(count, 'claimed')
  if (claimed === 0) return undefined
  let left = 0
  for (const row of await analytics.rows<Row>(STORED, params)) {
    if (!runs.contest(text(row, 'run'), number(row, 'seq'))) left++
  }
  if (claimed < MAX_NUMBERS && left === 0) return undefined
  const some =
    claimed < MAX_NUMBERS ? `${left} stored events` : 'some stored events: too many dead letters have numbers'
  return `whether dead letters are other records than the events whose numbers they have: ${some}`
}
