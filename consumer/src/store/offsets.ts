/** Queries about the offsets of one partition, over both tables together. */
import { EVENTS_TABLE, EXPIRED_TABLE, IntegrityError, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { OffsetRange } from '../pipeline/sink.ts'
import { type PartitionStore, FIRST_FIRST, IN_PARTITION, LAST_FIRST, OFFSETS_A_QUERY } from './question.ts'

const TABLES = [EVENTS_TABLE, SKIPPED_TABLE]
const offsetsOf = (table: string): string =>
  `SELECT log_offset AS o FROM ${table} WHERE ${IN_PARTITION} AND log_offset BETWEEN {from:Int64} AND {to:Int64}`
const OFFSETS = TABLES.map(offsetsOf).join(' UNION ALL ')
/**
 * How many distinct offsets there are. They must be counted exactly: a hole beside a row that is stored twice has the right count
 * of rows, and the record in the hole would be lost. A bitmap is exact (of the offsets' lower 32 bits, which differ within a
 * query), and costs a quarter of what reading the rows does; sorting them costs twice as much as reading.
 */
const DISTINCT = `
  SELECT toFloat64(min(o)) AS first, toFloat64(max(o)) AS last, toFloat64(groupBitmap(toUInt32(bitAnd(o, 4294967295)))) AS offsets
  FROM (${OFFSETS}) HAVING count() > 0`
/** Rows that are stored twice have the same rank. */
const RANGES = `
  SELECT toFloat64(min(o)) AS first, toFloat64(max(o)) AS last
  FROM (SELECT o, o - dense_rank() OVER (ORDER BY o) AS island FROM (${OFFSETS}))
  GROUP BY island ORDER BY first`
const endOf = (order: string): string => {
  const ends = TABLES.map(
    (table) =>
      `(SELECT log_offset AS o FROM ${table} WHERE ${IN_PARTITION} AND log_offset >= {from:Int64} ${order} LIMIT 1)`,
  )
  return ends.join(' UNION ALL ')
}
const FIRST_ROW = `SELECT toFloat64(min(o)) AS o FROM (${endOf(FIRST_FIRST)}) HAVING count() > 0`
const LAST_ROW = `SELECT toFloat64(max(o)) AS o FROM (${endOf(LAST_FIRST)}) HAVING count() > 0`

/** Sorting costs several times what counting does, and its answer may be as long as there are rows. */
const SORTED_A_QUERY = 2 ** 16
const PARTS_OF_A_STRETCH = 8
/**
 * Ranges that a partition may have. An owner that died leaves rows of one batch above its first gap: in the worst case every
 * other offset of BATCH_MAX_EVENTS, which is at most 1,000,000. Each range takes some 100 bytes here.
 */
const MOST_RANGES = 1_000_000

/**
 * Ranges of accounted offsets from `from` on, in order. Walks the partition in queries that each look at
 * {@link OFFSETS_A_QUERY} offsets, whatever the partition's size, and steps over what has no rows.
 * @throws IntegrityError `LOG_REPLACED` if there are more gaps than a consumer can have left.
 */
export async function accounted(store: PartitionStore, from: number): Promise<OffsetRange[]> {
  const ranges = new Ranges(store.name)
  const last = await rowOffset(store, { what: 'the last row', query: LAST_ROW, from })
  if (last === undefined) return []
  let at: number | undefined = from
  do {
    let empty = true
    for await (const range of rangesIn(store, { first: at, last: at + OFFSETS_A_QUERY - 1 })) {
      ranges.add(range)
      empty = false
    }
    at += OFFSETS_A_QUERY
    // Only a partition that begins late, or has lost rows, has a stretch without any.
    if (empty) at = await rowOffset(store, { what: 'the next row', query: FIRST_ROW, from: at })
  } while (at !== undefined && at <= last)
  return ranges.list
}

/** Count of distinct offsets with a row. Walks the range as {@link accounted} does. */
export async function countOffsets(store: PartitionStore, { first, last }: OffsetRange): Promise<number> {
  let count = 0
  for (let from = first; from <= last; from += OFFSETS_A_QUERY) {
    const to = Math.min(from + OFFSETS_A_QUERY - 1, last)
    const what = `the number of rows at offsets ${from} to ${to}`
    const [found] = await store.ask<{ offsets: number }>({ what, query: DISTINCT, parameters: { from, to } })
    count += found?.offsets ?? 0
  }
  return count
}

/** Almost every stretch is one range. Where one is not, its parts are looked at, and only in the smallest its rows sorted. */
async function* rangesIn(store: PartitionStore, { first, last }: OffsetRange): AsyncGenerator<OffsetRange, void, void> {
  const parameters = { from: first, to: last }
  const what = `the offsets ${first} to ${last}`
  const [found] = await store.ask<OffsetRange & { offsets: number }>({ what, query: DISTINCT, parameters })
  if (found === undefined) return
  const width = found.last - found.first + 1
  if (found.offsets === width) yield found
  else if (found.offsets <= SORTED_A_QUERY) yield* await store.ask<OffsetRange>({ what, query: RANGES, parameters })
  else {
    const size = Math.ceil(width / PARTS_OF_A_STRETCH)
    for (let at = found.first; at <= found.last; at += size) {
      yield* rangesIn(store, { first: at, last: Math.min(at + size - 1, found.last) })
    }
  }
}

const NOTES_A_QUERY = 2 ** 16
const NOTES = `
  SELECT toFloat64(first_offset) AS first, toFloat64(last_offset) AS last FROM ${EXPIRED_TABLE}
  WHERE ${IN_PARTITION} AND last_offset >= {from:Int64} AND (first_offset, last_offset) > ({first:Int64}, {last:Int64})
  ORDER BY first_offset, last_offset LIMIT 1 BY first_offset, last_offset LIMIT ${NOTES_A_QUERY}`

/** Ranges that expiry notes cover, the part below `from` left out; they may overlap. Reads {@link NOTES_A_QUERY} notes a query. */
export async function expired(store: PartitionStore, from: number): Promise<OffsetRange[]> {
  const ranges: OffsetRange[] = []
  let page: OffsetRange[]
  let after: OffsetRange = { first: -1, last: -1 }
  do {
    const what = `the expiry notes behind offset ${after.first}`
    page = await store.ask<OffsetRange>({ what, query: NOTES, parameters: { from, ...after } })
    for (const { first, last } of page) ranges.push({ first: Math.max(first, from), last })
    after = page.at(-1) ?? after
  } while (page.length === NOTES_A_QUERY)
  return ranges
}

interface RowQuery {
  readonly what: string
  readonly query: string
  readonly from: number
}

async function rowOffset(store: PartitionStore, { what, query, from }: RowQuery): Promise<number | undefined> {
  const [row] = await store.ask<{ o: number }>({ what, query, parameters: { from } })
  return row?.o
}

/** Ranges that follow each other are one. */
class Ranges {
  readonly #name: string
  readonly list: { first: number; last: number }[] = []

  constructor(name: string) {
    this.#name = name
  }

  add({ first, last }: OffsetRange): void {
    const open = this.list.at(-1)
    if (open?.last === first - 1) open.last = last
    else this.list.push({ first, last })
    if (this.list.length <= MOST_RANGES) return
    const gaps = `the tables have more than ${MOST_RANGES} ranges between offsets ${this.list[0]?.first} and ${last} of ${this.#name}`
    throw new IntegrityError('LOG_REPLACED', `${gaps}: were rows removed?`)
  }
}

const SKIPPED_A_QUERY = 2 ** 16
const LAST_EVENT = `
  SELECT toFloat64(log_offset) AS o FROM ${EVENTS_TABLE}
  WHERE ${IN_PARTITION} AND log_offset < {below:Int64} ${LAST_FIRST} LIMIT 1`
/** The last skipped rows between two offsets: the dead letters above the last duplicate among them. */
const DEAD = `
  SELECT toFloat64(min(o)) AS lowest, toFloat64(count()) AS rows, toFloat64(max(ended)) AS duplicate,
    toFloat64(countIf(kind = 'dead' AND o > ended)) AS dead
  FROM (
    SELECT o, kind, max(if(kind = 'duplicate', o, -1)) OVER () AS ended FROM (
      SELECT log_offset AS o, kind FROM ${SKIPPED_TABLE}
      WHERE ${IN_PARTITION} AND log_offset > {above:Int64} AND log_offset < {below:Int64}
      ${LAST_FIRST} LIMIT ${SKIPPED_A_QUERY}
    )
  )`

/** An event or a duplicate ends the row of dead letters. Reads {@link SKIPPED_A_QUERY} rows a query, however many holes there are. */
export async function deadInARow(store: PartitionStore, below: number, limit: number): Promise<number> {
  const [event] = await store.ask<{ o: number }>({ what: 'the last event', query: LAST_EVENT, parameters: { below } })
  const above = event?.o ?? -1
  let dead = 0
  for (let top = below; ;) {
    const what = `the dead letters below offset ${top}`
    const [page] = await store.ask<{ lowest: number; rows: number; duplicate: number; dead: number }>({
      what,
      query: DEAD,
      parameters: { above, below: top },
    })
    dead += page?.dead ?? 0
    if (page === undefined || dead >= limit || page.duplicate >= 0 || page.rows < SKIPPED_A_QUERY)
      return Math.min(dead, limit)
    top = page.lowest
  }
}
