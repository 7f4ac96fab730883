/** The consumer's queries about one partition: right at every border, and bounded however many rows the partition has. */
import { randomBytes } from 'node:crypto'
import type { LogPartition, OffsetRange } from '@agent-audit/consumer/pipeline'
import { expect, it } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { openWatchedSink, rowsRead, type WatchedSink } from '../support/watched-sink.ts'

const store = await openStore()

/** Offsets that a query looks at, and rows of a mark of the primary key. */
const [STEP, GRANULE] = [2 ** 22, 8192]
/** A range of the key begins and ends within a granule, in both tables. */
const EDGES = 4 * GRANULE
const RUN = 'ab'.repeat(16)
const newLogPartition = (): LogPartition => ({ logId: randomBytes(8), topic: 'events', partition: 3 })

interface Rows {
  /** An expression over `number`, from 0 to below `count`. */
  readonly offset: string
  readonly count: number
  readonly without?: readonly number[]
}

function insert(into: string, columns: string, { count, without = [] }: Rows): Promise<void> {
  const now = Date.now()
  const settings = { log_comment: `${now} ${now + 60_000}`, max_insert_threads: '1' }
  const statement = `INSERT INTO ${into} SELECT ${columns} FROM numbers(${count}) WHERE number NOT IN [${without.join(', ')}]`
  return store.send(statement, store.dataDir.admin, settings).then((answer) => expect(answer).toBe(''))
}

function placeOf({ logId, partition }: LogPartition, offset: string): string {
  return `unhex('${logId.toString('hex')}'), ${partition}, ${offset}, toDateTime64('2026-01-01 00:00:00', 3, 'UTC')`
}

const PLACE = 'log_id, log_partition, log_offset, log_time'

function addEvents(logPartition: LogPartition, rows: Rows, run = RUN): Promise<void> {
  const columns = `unhex('${run}'), number, ${placeOf(logPartition, rows.offset)}`
  return insert(`audit_events (run_id, run_seq, ${PLACE})`, columns, rows)
}

function addSkipped(logPartition: LogPartition, rows: Rows, kind = 'hole'): Promise<void> {
  return insert(`audit_skipped (kind, ${PLACE})`, `'${kind}', ${placeOf(logPartition, rows.offset)}`, rows)
}

function rangesOf(offsets: Iterable<number>): OffsetRange[] {
  const ranges: { first: number; last: number }[] = []
  for (const offset of [...new Set(offsets)].toSorted((a, b) => a - b)) {
    const open = ranges.at(-1)
    if (open?.last === offset - 1) open.last = offset
    else ranges.push({ first: offset, last: offset })
  }
  return ranges
}

const listed = (offsets: readonly number[]): Rows => ({
  offset: `[${offsets.join(', ')}][number + 1]`,
  count: offsets.length,
})

async function expectBounded({ queries }: WatchedSink, most: number): Promise<void> {
  expect(queries.length).toBeGreaterThan(0)
  for (const query of queries) expect(await rowsRead(store, query)).toBeLessThanOrEqual(most)
}

it('a hole beside a row that is stored twice stays a hole', async () => {
  const [{ sink }, logPartition] = [await openWatchedSink(store), newLogPartition()]
  await addEvents(logPartition, { offset: 'number', count: 100, without: [50] })
  await addEvents(logPartition, { offset: '49', count: 1 })
  const [below, above] = [
    { first: 0, last: 49 },
    { first: 51, last: 99 },
  ]
  // As many rows as offsets from the first to the last.
  expect(await sink.accounted(logPartition, 0)).toEqual([below, above])
  expect(await sink.accounted(logPartition, 49)).toEqual([{ first: 49, last: 49 }, above])
  await addSkipped(logPartition, { offset: '51', count: 1 })
  expect(await sink.accounted(logPartition, 0)).toEqual([below, above])
})

it('rows that are stored twice make no gap', async () => {
  const [{ sink }, logPartition] = [await openWatchedSink(store), newLogPartition()]
  await addEvents(logPartition, { offset: 'number', count: 10 })
  await addSkipped(logPartition, { offset: '3 + number', count: 3 })
  expect(await sink.accounted(logPartition, 0)).toEqual([{ first: 0, last: 9 }])
})

it('ranges are whole across the borders of queries, whatever the search begins with', async () => {
  const [{ sink }, logPartition] = [await openWatchedSink(store), newLogPartition()]
  const borders = [2 ** 16, 2 ** 17, 2 ** 19, STEP, STEP + 2 ** 16, 2 * STEP, 3 * STEP, 2 ** 32, 2 ** 32 + STEP]
  const around = [-6, -5, -3, -2, -1, 0, 1, 2, 4, 5]
  const offsets = borders.flatMap((border) => around.map((distance) => border + distance))
  await addEvents(logPartition, listed(offsets.filter((_, index) => index % 3 > 0)))
  await addSkipped(logPartition, listed(offsets.filter((_, index) => index % 3 === 0)))
  for (const from of [1, STEP - 1, 2 ** 32 + 1]) {
    expect(await sink.accounted(logPartition, from)).toEqual(rangesOf(offsets.filter((offset) => offset >= from)))
  }
})

it('ranges of a dense partition with holes at any offset are found', async () => {
  const [{ sink }, logPartition] = [await openWatchedSink(store), newLogPartition()]
  const count = 300_000
  const holes = [1, 2, 65_535, 65_536, 131_071, 131_073, 262_144, 299_998]
  const half = holes.filter((hole) => hole < 200_000)
  await addEvents(logPartition, { offset: 'number', count: 200_000, without: half })
  const others = holes.filter((hole) => hole >= 200_000).map((hole) => hole - 200_000)
  await addSkipped(logPartition, { offset: '200000 + number', count: 100_000, without: others })
  const expected = rangesOf(Array.from({ length: count }, (_, offset) => offset).filter((o) => !holes.includes(o)))
  expect(await sink.accounted(logPartition, 0)).toEqual(expected)
})

it('a partition without rows costs one query', async () => {
  const [{ sink, queries }, logPartition] = [await openWatchedSink(store), newLogPartition()]
  expect(await sink.accounted(logPartition, 0)).toEqual([])
  await addEvents(logPartition, { offset: 'number', count: 5 })
  expect(await sink.accounted(logPartition, 5)).toEqual([])
  expect(queries).toHaveLength(2)
})

it('rows that are far apart cost a few queries each', async () => {
  const [watched, logPartition] = [await openWatchedSink(store), newLogPartition()]
  await addEvents(logPartition, { offset: `(number + 1) * 1000000000000`, count: 10 })
  const expected = Array.from({ length: 10 }, (_, index) => ({ first: (index + 1) * 1e12, last: (index + 1) * 1e12 }))
  expect(await watched.sink.accounted(logPartition, 0)).toEqual(expected)
  expect(watched.queries.length).toBeLessThanOrEqual(40)
})

it('no query reads more rows than it may, in a partition of any size', { timeout: 120_000 }, async () => {
  const logPartition = newLogPartition()
  const count = 6_000_000
  await addEvents(logPartition, { offset: 'number', count: 10 })
  await addSkipped(logPartition, { offset: '10 + number', count: 1 }, 'dead')
  await addSkipped(logPartition, { offset: '11 + number', count })
  await addSkipped(logPartition, { offset: `${count + 11} + number`, count: 1 }, 'dead')
  const walk = await openWatchedSink(store)
  expect(await walk.sink.accounted(logPartition, 0)).toEqual([{ first: 0, last: count + 11 }])
  await expectBounded(walk, STEP + EDGES)
  const dead = await openWatchedSink(store)
  expect(await dead.sink.deadInARow(logPartition, count + 12, 10)).toBe(2)
  // The server reads ahead of the 65,536 rows that it is asked for.
  await expectBounded(dead, 2 ** 18)
  expect(await dead.sink.deadInARow(logPartition, count + 12, 1)).toBe(1)
})

it('suspects are looked for only where their run has records', async () => {
  const [watched, logPartition] = [await openWatchedSink(store), newLogPartition()]
  const [others, rows] = ['cd'.repeat(16), 32 * GRANULE]
  await addEvents(logPartition, { offset: 'number', count: rows }, others)
  await addEvents(logPartition, { offset: `${rows} + number`, count: 100 })
  await addEvents(logPartition, { offset: `${rows + 100} + number`, count: rows }, others)
  const records = [5, 99, 100].map((runSeq) => ({ runId: RUN, runSeq }))
  expect(await watched.sink.stored(logPartition, records)).toMatchObject(records.slice(0, 2))
  await expectBounded(watched, EDGES)
})

it('suspects are found in every stretch of a long run, and one that was never stored in none', async () => {
  const [watched, logPartition] = [await openWatchedSink(store), newLogPartition()]
  await addEvents(logPartition, { offset: 'number * 3000000', count: 10 })
  await addEvents(logPartition, { offset: `${STEP} + number`, count: 3 }, 'cd'.repeat(16))
  const records = Array.from({ length: 10 }, (_, runSeq) => ({ runId: RUN, runSeq }))
  const asked = [...records, { runId: RUN, runSeq: 10 }, { runId: 'cd'.repeat(16), runSeq: 9 }]
  const found = await watched.sink.stored(logPartition, asked)
  expect(found.toSorted((one, other) => one.runSeq - other.runSeq)).toMatchObject(records)
  // The newest are found without a look at the rest: one query for the bounds, and one for their stretch.
  watched.queries.length = 0
  expect(await watched.sink.stored(logPartition, records.slice(-1))).toMatchObject(records.slice(-1))
  expect(watched.queries).toHaveLength(2)
})

const runOf = (index: number): string => index.toString(16).padStart(32, '0')

it('suspects of many runs are looked up in as many queries as one run needs', async () => {
  const [watched, logPartition] = [await openWatchedSink(store), newLogPartition()]
  const columns = `unhex(leftPad(lower(hex(number)), 32, '0')), 7, ${placeOf(logPartition, 'number')}`
  await insert(`audit_events (run_id, run_seq, ${PLACE})`, columns, { offset: 'number', count: 300 })
  const records = Array.from({ length: 301 }, (_, index) => ({ runId: runOf(index), runSeq: 7 }))
  expect(await watched.sink.stored(logPartition, records)).toMatchObject(records.slice(0, 300))
  // A number that one run has is not taken for another's.
  await addEvents(logPartition, { offset: '300 + number', count: 3 })
  const strangers = [
    { runId: RUN, runSeq: 7 },
    { runId: runOf(5), runSeq: 2 },
  ]
  expect(await watched.sink.stored(logPartition, strangers)).toEqual([])
  expect(watched.queries.length).toBeLessThanOrEqual(4)
})

it('a partition with more gaps than a consumer can leave is an error, not a list that fills the memory', async () => {
  const [{ sink }, logPartition] = [await openWatchedSink(store), newLogPartition()]
  await addSkipped(logPartition, { offset: '2 * number', count: 1_050_000 })
  await expect(sink.accounted(logPartition, 0)).rejects.toMatchObject({
    code: 'LOG_REPLACED',
    message: expect.stringMatching(/more than 1000000 ranges .* of events\/3/),
  })
}, 60_000)

it('a query that is not answered in time names itself, its partition and the setting', async () => {
  const [{ sink, queries }, logPartition] = [
    await openWatchedSink(store, { QUERY_TIMEOUT_MS: '500' }, ({ body }) => body.includes('groupBitmap')),
    newLogPartition(),
  ]
  await addEvents(logPartition, { offset: 'number', count: 10 })
  await expect(sink.accounted(logPartition, 2)).rejects.toMatchObject({
    code: 'STORE_LIMIT',
    message: expect.stringMatching(
      /within 500 ms \(QUERY_TIMEOUT_MS\) \(asked .*: the offsets 2 to \d+ of events\/3\)$/,
    ),
  })
  // The server ends the query as well.
  expect(queries.at(-1)?.path).toMatch(/max_execution_time=1&timeout_overflow_mode=throw/)
})
