/**
 * What is new, by position in the log: for jobs that read the trail again and again and must take each event once. Times
 * cannot do that: an event may be stored hours after it happened (the spool of a dead run), and minutes after the log has
 * appended it.
 */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import type { RecordPosition } from './dead-letters.ts'
import { finalEnd, IN_RANGE, type LogRange, type StoredPartition, storedPartitions } from './log-ranges.ts'
import { asEvent, bytesOf, EVENT_COLUMNS, type TrailEvent } from './session-trail.ts'

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

const PAGE = `
  SELECT ${EVENT_COLUMNS} FROM {database:Identifier}.${EVENTS_TABLE} AS e WHERE ${IN_RANGE.replaceAll('log_', 'e.log_')}
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
    const partitions = await storedPartitions(this.#analytics)
    this.ends = partitions.map(({ log, partition, last }) => ({ log_id: log, partition, offset: last + 1 }))
    for (const partition of partitions) yield* this.#readPartition(partition)
  }

  async *#readPartition({ log, partition, first, last }: StoredPartition): AsyncGenerator<TrailEvent, void, undefined> {
    let from = this.#positions.get(`${log}/${partition}`)?.offset ?? first
    while (from <= last) {
      const to = Math.min(from + WINDOW, last + 1)
      const end = await finalEnd(this.#analytics, { log, partition, from, to })
      // Rows are never changed, and all of these are there: a later query sees the same.
      yield* this.#readRange({ log, partition, from, to: end })
      const position = { log_id: log, partition, offset: end }
      this.#moveTo(position)
      if (end < to) return void this.held.push(position)
      from = end
    }
  }

  async *#readRange(range: LogRange): AsyncGenerator<TrailEvent> {
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
    const rows = this.#analytics.query(PAGE, { schema: asEvent(this.#analytics), params: { ...params, limit } })
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
