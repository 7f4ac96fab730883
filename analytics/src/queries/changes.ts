/**
 * What is new, by position in the log: for jobs that read the trail again and again and must take each event once. Times
 * cannot do that: an event may be stored hours after it happened (the spool of a dead run), and minutes after the log has
 * appended it.
 */
import { EVENTS_TABLE, EXPIRED_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { number, type Row, text } from '../connection/rows.ts'
import type { RecordPosition } from './dead-letters.ts'
import { EVENT_COLUMNS, toEvent, type TrailEvent } from './session-trail.ts'

/** Where a job stands: the next offset of each partition that it has read. Plain JSON, to be kept beside the job's results. */
export type Cursor = readonly RecordPosition[]

/** Events by position. See {@link changesSince}. */
export interface Changes extends AsyncIterable<TrailEvent, void, undefined> {
  /** Behind every event that the iteration has given so far. */
  readonly cursor: Cursor
  /**
   * Offsets, one a partition, that the last iteration did not pass: neither a row nor an expiry note accounts for them, though rows stand above. An
   * insert that is under way fills such a gap soon; `agent-audit verify --completeness` says whether it is a loss.
   */
  readonly held: Cursor
  /** Behind the last row of each partition when the last iteration began. */
  readonly ends: Cursor
}

/** Offsets that one query looks at. */
const WINDOW = 65_536
/** Size of a page: a caller may take any time for an event, so no answer of the server waits for it. */
const PAGE_BYTES = 4 * 2 ** 20
const FIRST_PAGE_EVENTS = 500
const MAX_PAGE_EVENTS = 10_000
/** What a value of a JavaScript object costs beside its text. */
const VALUE_BYTES = 24

const TABLES = [EVENTS_TABLE, SKIPPED_TABLE].map((table) => `{database:Identifier}.${table}`)
const partitionsIn = (table: string): string => `
  SELECT lower(hex(log_id)) AS log, log_partition, min(log_offset) AS first, max(log_offset) AS last
  FROM {database:Identifier}.${table} GROUP BY log_id, log_partition`
const IN_RANGE = `log_id = unhex({log:String}) AND log_partition = {partition:Int32}
  AND log_offset >= {from:Int64} AND log_offset < {to:Int64}`
const STORED = TABLES.map((table) => `SELECT log_offset AS at FROM ${table} WHERE ${IN_RANGE}`)
/** What retention has dropped keeps no job waiting. Notes may overlap. */
const EXPIRED = `
  SELECT arrayJoin(range(greatest(first_offset, {from:Int64}), least(last_offset + 1, {to:Int64}))) AS at
  FROM {database:Identifier}.${EXPIRED_TABLE}
  WHERE log_id = unhex({log:String}) AND log_partition = {partition:Int32}
    AND first_offset < {to:Int64} AND last_offset >= {from:Int64}`
/** How many offsets from `from` on are accounted for without a gap. */
export const CONTIGUOUS: string = `
  SELECT countIf(at = {from:Int64} + place - 1) AS offsets
  FROM (
    SELECT at, row_number() OVER (ORDER BY at) AS place
    FROM (SELECT DISTINCT at FROM (${[...STORED, EXPIRED].join(' UNION ALL ')})))`
const PAGE = `
  SELECT ${EVENT_COLUMNS} FROM ${TABLES[0]} AS e WHERE ${IN_RANGE.replaceAll('log_', 'e.log_')}
  ORDER BY e.log_id, e.log_partition, e.log_offset LIMIT {limit:UInt32}`

/**
 * The events after a cursor, in the order of (log, partition, offset): all that is final when the iteration begins. Each
 * event comes once over all iterations that begin with the cursor of the one before, also when the consumer writes meanwhile:
 * the iteration stops in each partition at the first offset that is in neither table, and that no expiry note covers, since an
 * insert may land there later.
 *
 * ```ts
 * const changes = changesSince(analytics, await load())
 * for await (const event of changes) await handle(event)
 * await save(changes.cursor)
 * ```
 *
 * A job that saves the cursor in one transaction with its results handles each event exactly once, whenever it is killed. The
 * cursor counts an event as soon as the iteration has given it, so save between two events. To go on, iterate again.
 * @param cursor - Of an earlier iteration. A partition that it does not name is read from its first stored offset: no event
 * lands below that later, since a consumer sends a partition's inserts in the order of the log, the next one after the one
 * before is stored, and the events of a batch before its skipped rows.
 * @throws TrailError as {@link Analytics.rows}, during the iteration: then `cursor` is still right.
 */
export function changesSince(analytics: Analytics, cursor: Cursor = []): Changes {
  return new ChangeReader(analytics, cursor)
}

/** Of a log: its first and last offset with a row. */
export interface Partition {
  readonly log: string
  readonly partition: number
  readonly first: number
  readonly last: number
}

class ChangeReader implements Changes {
  held: RecordPosition[] = []
  ends: RecordPosition[] = []
  readonly #connection: Analytics
  #analytics: Analytics
  readonly #positions = new Map<string, RecordPosition>()
  #pageEvents = FIRST_PAGE_EVENTS

  constructor(analytics: Analytics, cursor: Cursor) {
    this.#connection = analytics
    this.#analytics = analytics
    for (const position of cursor) this.#moveTo(position)
  }

  get cursor(): Cursor {
    return [...this.#positions.values()]
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TrailEvent, void, undefined> {
    this.held = []
    this.#analytics = (await withoutQuarantined(this.#connection)).analytics
    const partitions = await findPartitions(this.#analytics)
    this.ends = partitions.map(({ log, partition, last }) => ({ log_id: log, partition, offset: last + 1 }))
    for (const partition of partitions) yield* this.#readPartition(partition)
  }

  async *#readPartition({ log, partition, first, last }: Partition): AsyncGenerator<TrailEvent, void, undefined> {
    let from = this.#positions.get(`${log}/${partition}`)?.offset ?? first
    while (from <= last) {
      const to = Math.min(from + WINDOW, last + 1)
      const [row] = await this.#analytics.rows<Row>(CONTIGUOUS, { log, partition, from, to })
      const end = from + (row === undefined ? 0 : number(row, 'offsets'))
      // Rows are never changed, and all of these are there: a later query sees the same.
      yield* this.#readRange({ log, partition, from, to: end })
      const position = { log_id: log, partition, offset: end }
      this.#moveTo(position)
      if (end < to) return void this.held.push(position)
      from = end
    }
  }

  async *#readRange(
    range: Omit<Partition, 'first' | 'last'> & { from: number; to: number },
  ): AsyncGenerator<TrailEvent> {
    let { from } = range
    while (from < range.to) {
      const page = await this.#readPage({ ...range, from })
      for (const event of page.events) {
        from = event.log_offset + 1
        this.#moveTo({ log_id: range.log, partition: range.partition, offset: from })
        yield event
      }
      if (page.last) return
    }
  }

  /** As many events as fit into a page. Most pages are one query to its end; one with larger events than before is left early. */
  async #readPage(params: Readonly<Record<string, unknown>>): Promise<{ events: TrailEvent[]; last: boolean }> {
    const limit = this.#pageEvents
    const events: TrailEvent[] = []
    let bytes = 0
    const rows = this.#analytics.query(PAGE, { schema: AS_EVENT, params: { ...params, limit } })
    for await (const event of rows) {
      events.push(event)
      bytes += bytesOf(event)
      if (bytes >= PAGE_BYTES) break
    }
    const fitting = Math.floor((events.length * PAGE_BYTES) / Math.max(bytes, 1))
    this.#pageEvents = Math.min(MAX_PAGE_EVENTS, Math.max(1, fitting))
    return { events, last: bytes < PAGE_BYTES && events.length < limit }
  }

  #moveTo(position: RecordPosition): void {
    this.#positions.set(`${position.log_id}/${position.partition}`, position)
  }
}

/**
 * Skipped rows are asked for first: the events of their batches are there already when the second question is asked. ClickHouse
 * promises no common snapshot of two tables: one query over both might see the skipped rows of a partition's first batch
 * without its events, which would never be read then.
 */
export async function findPartitions(analytics: Analytics): Promise<Partition[]> {
  const found = new Map<string, Partition>()
  for (const table of [SKIPPED_TABLE, EVENTS_TABLE]) {
    for (const row of await analytics.rows<Row>(partitionsIn(table))) {
      const [log, partition] = [text(row, 'log'), number(row, 'log_partition')]
      const [first, last] = [number(row, 'first'), number(row, 'last')]
      const other = found.get(`${log}/${partition}`) ?? { first, last }
      const ends = { first: Math.min(first, other.first), last: Math.max(last, other.last) }
      found.set(`${log}/${partition}`, { log, partition, ...ends })
    }
  }
  return [...found.values()].toSorted((a, b) => a.log.localeCompare(b.log) || a.partition - b.partition)
}

const AS_EVENT = { parse: (row: unknown): TrailEvent => toEvent(row as Record<string, unknown>) }

function bytesOf(event: TrailEvent): number {
  let bytes = 0
  for (const value of Object.values(event) as unknown[]) {
    bytes += VALUE_BYTES
    if (typeof value === 'string') bytes += value.length
    else if (typeof value === 'object' && value !== null) bytes += JSON.stringify(value).length
  }
  return bytes
}
