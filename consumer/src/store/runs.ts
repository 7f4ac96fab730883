/** Queries about the records of runs in one partition. Both go by the projection of audit_events, which has one row a run and part. */
import { askInChunks, EVENTS_TABLE } from '@agent-audit/schemas'
import type { RecordIdentity, StoredRecord } from '../pipeline/sink.ts'
import { type PartitionStore, IN_PARTITION, OFFSETS_A_QUERY } from './question.ts'
import { EVENT_KEY, QUARANTINED_KEYS } from './rows.ts'

/** What the table has of a run: its highest run_seq, and its first and last offset. */
interface RunBounds extends RecordIdentity {
  readonly first: number
  readonly last: number
}

// Without FixedString an id that ends in a zero byte, one in 256, would match no set: its repeats would pass.
const BOUNDS = `
  SELECT lower(hex(run_id)) AS runId, toFloat64(max(run_seq)) AS runSeq,
    toFloat64(min(log_offset)) AS first, toFloat64(max(log_offset)) AS last
  FROM ${EVENTS_TABLE}
  WHERE ${IN_PARTITION} AND run_id IN (SELECT toFixedString(unhex(arrayJoin({runs:Array(String)})), 16)) GROUP BY run_id`
// The numbers alone, beside the pairs, make it six times as cheap; newer servers also leave out parts by them.
// A quarantined row is no event: the record that it was forged for is none of its repeats.
const STORED = `
  SELECT lower(hex(run_id)) AS runId, toFloat64(run_seq) AS runSeq, toFloat64(log_offset) AS offset, toString(event_id) AS eventId
  FROM ${EVENTS_TABLE}
  WHERE ${IN_PARTITION} AND log_offset BETWEEN {from:Int64} AND {to:Int64}
    AND run_seq IN (SELECT arrayJoin({seqs:Array(Int64)})) AND (run_id, run_seq) IN (
      SELECT toFixedString(unhex(record.1), 16), record.2
      FROM (SELECT arrayJoin(arrayZip({runs:Array(String)}, {seqs:Array(Int64)})) AS record))
    AND (log_offset, ${EVENT_KEY}) NOT IN (${QUARANTINED_KEYS})`

function boundsOf(store: PartitionStore, runIds: readonly string[]): Promise<RunBounds[]> {
  return askInChunks(runIds, (runs) =>
    store.ask<RunBounds>({ what: 'the last records of runs', query: BOUNDS, parameters: { runs } }),
  )
}

export async function highestSeqs(store: PartitionStore, runIds: readonly string[]): Promise<Map<string, number>> {
  return new Map((await boundsOf(store, runIds)).map(({ runId, runSeq }) => [runId, runSeq]))
}

/**
 * The given records that the table has. Looks at {@link OFFSETS_A_QUERY} offsets a query, only where the runs have any, and
 * from the newest down until all are found: a record that a producer sends again was mostly stored a short while ago. A record
 * that was never stored costs a walk over its run.
 */
export async function stored(store: PartitionStore, records: readonly RecordIdentity[]): Promise<StoredRecord[]> {
  const bounds = await boundsOf(store, [...new Set(records.map(({ runId }) => runId))])
  const found: StoredRecord[] = []
  let left = records
  for (let top = Number.POSITIVE_INFINITY; ;) {
    const runs = runsOf(left, bounds).filter(({ first }) => first <= top)
    if (runs.length === 0) return found
    const to = Math.min(top, runs.map(({ last }) => last).reduce(max))
    const from = Math.max(to - OFFSETS_A_QUERY + 1, runs.map(({ first }) => first).reduce(min))
    const here = new Set(runs.filter(({ last }) => last >= from).map(({ runId }) => runId))
    const asked = left.filter(({ runId }) => here.has(runId))
    const rows = await storedBetween(store, { from, to }, asked)
    for (const row of rows) found.push(row)
    const known = new Set(rows.map(keyOf))
    left = left.filter((record) => !known.has(keyOf(record)))
    top = from - 1
  }
}

// Of two numbers: a batch may have more runs than a call may have arguments.
const max = (one: number, other: number): number => Math.max(one, other)
const min = (one: number, other: number): number => Math.min(one, other)

function runsOf(records: readonly RecordIdentity[], bounds: readonly RunBounds[]): RunBounds[] {
  const ids = new Set(records.map(({ runId }) => runId))
  return bounds.filter(({ runId }) => ids.has(runId))
}

function storedBetween(
  store: PartitionStore,
  { from, to }: { from: number; to: number },
  records: readonly RecordIdentity[],
): Promise<StoredRecord[]> {
  const what = `records stored already, at offsets ${from} to ${to}`
  return askInChunks(records, (chunk) => {
    const parameters = { from, to, runs: chunk.map(({ runId }) => runId), seqs: chunk.map(({ runSeq }) => runSeq) }
    return store.ask<StoredRecord>({ what, query: STORED, parameters })
  })
}

function keyOf({ runId, runSeq }: RecordIdentity): string {
  return `${runId}:${runSeq}`
}
