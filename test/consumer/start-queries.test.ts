/** What the consumer asks the tables at a start costs the rows of its own partition, however many rows there are. */
import type { LogPartition, Sink } from '@agent-audit/consumer/pipeline'
import { beforeAll, expect, it } from 'vitest'
import { openWatchedSink, rowsRead } from '../support/watched-sink.ts'
import { openStore } from './support.ts'

/** Rows of a mark of the primary key: index_granularity of the tables. */
const GRANULE = 8192
const PARTITIONS = 16
/** Rows of a partition of the log in each table. */
const ROWS = 4 * GRANULE
/** A range of the key begins and ends within a granule, and all of both is read. */
const EDGES = 2 * GRANULE

const LOG_ID = Buffer.from('start---')
const RUN = '5e'.repeat(16)
const LOG_PARTITION: LogPartition = { logId: LOG_ID, topic: 'audit.events', partition: 5 }

const store = await openStore()

beforeAll(async () => {
  const now = Date.now()
  const settings = { log_comment: `${now} ${now + 60_000}`, max_insert_threads: '1' }
  const placeOf = (offset: string): string => `'${LOG_ID.toString()}', intDiv(number, ${ROWS}), ${offset}, now64(3)`
  const seq = `number % ${ROWS}`
  const from = `FROM numbers(${PARTITIONS * ROWS})`
  const events = `INSERT INTO audit_events (run_id, run_seq, log_id, log_partition, log_offset, log_time, session_id)
    SELECT unhex('${RUN}'), ${seq}, ${placeOf(`2 * (${seq})`)}, toString(cityHash64(number)) ${from}`
  const skipped = `INSERT INTO audit_skipped (kind, reason, log_id, log_partition, log_offset, log_time)
    SELECT 'dead', toString(cityHash64(number)), ${placeOf(`2 * (${seq}) + 1`)} ${from}`
  const notes = `INSERT INTO audit_expired (retention_class, month, log_id, log_partition, first_offset, last_offset)
    SELECT 'default', 202001, '${LOG_ID.toString()}', intDiv(number, ${ROWS}), ${seq}, ${seq} ${from}`
  for (const statement of [events, skipped, notes]) {
    const answer = await store.send(statement, store.dataDir.admin, settings)
    if (answer !== '') throw new Error(answer)
  }
})

/** Events have the even offsets, skipped rows the odd ones. */
const END = 2 * ROWS
const NO_ID = '00000000-0000-0000-0000-000000000000'
const NEWEST = { runId: RUN, runSeq: ROWS - 1 }

it.each<[string, (sink: Sink) => Promise<unknown>, unknown, number]>([
  [
    'offsets accounted for',
    (sink) => sink.accounted(LOG_PARTITION, END - 10),
    [{ first: END - 10, last: END - 1 }],
    2 * EDGES,
  ],
  [
    'expired offsets',
    (sink) => sink.expired(LOG_PARTITION, ROWS - 1),
    [{ first: ROWS - 1, last: ROWS - 1 }],
    ROWS + EDGES,
  ],
  [
    'rows at offsets',
    (sink) => sink.rowsBetween(LOG_PARTITION, { first: END - 2, last: END - 1 }, 'counting'),
    [expect.objectContaining({ kind: 'event', ...NEWEST }), expect.objectContaining({ kind: 'dead', runId: null })],
    2 * EDGES,
  ],
  ['number of offsets', (sink) => sink.countOffsets(LOG_PARTITION, { first: END - 10, last: END }), 10, 2 * EDGES],
  [
    'number of offsets of several partitions',
    (sink) =>
      Promise.all(
        [0, 3, 5].map((partition) =>
          sink.countOffsets({ ...LOG_PARTITION, partition }, { first: partition, last: 2 * partition }),
        ),
      ),
    [1, 4, 6],
    3 * 2 * EDGES,
  ],
  ['highest run_seq', (sink) => sink.highestSeqs(LOG_PARTITION, [RUN]), new Map([[RUN, ROWS - 1]]), ROWS + EDGES],
  [
    'records stored already',
    (sink) => sink.stored(LOG_PARTITION, [NEWEST]),
    [{ ...NEWEST, offset: END - 2, eventId: NO_ID }],
    ROWS + EDGES,
  ],
  // Two tables, and the rows of the dead letters themselves.
  ['dead letters in a row', (sink) => sink.deadInARow(LOG_PARTITION, END, 5), 1, 2 * (ROWS + EDGES)],
])('the query for the %s reads no more than a range of the primary key', async (_what, ask, answer, most) => {
  const { sink, queries } = await openWatchedSink(store)
  expect(await ask(sink)).toEqual(answer)
  expect(queries.length).toBeGreaterThan(0)
  for (const query of queries) {
    const read = await rowsRead(store, query)
    expect(read).toBeGreaterThan(0)
    expect(read).toBeLessThanOrEqual(most)
  }
  // Or a query that reads everything would pass.
  expect(most).toBeLessThan((PARTITIONS * ROWS) / 2)
})
