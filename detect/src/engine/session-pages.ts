/**
 * Reads whole sessions, in pages of neighbours in the log: a page is one short range of the primary key, however long the trail
 * is. Of a session that is too long, its last events are read.
 */
import { type Analytics, columnsOf, type RowSchema, toEvent } from '@agent-audit/analytics'
import { type Session, SESSION_FIELDS, type SessionEvent } from '../detector.ts'
import { type Candidate, NOT_OF_FINDINGS } from './touched.ts'

/** A session for judging. */
export interface ReadSession {
  readonly session: Session
  readonly mask: string
}

export interface SessionLimits {
  /** Most events of a session, the last ones. */
  readonly events: number
  /** Most bytes of them as text; one event at least is read. */
  readonly bytes: number
}

/** A server sorts the rows of a page; a parameter of a query has at most 128 KiB. */
const PAGE_SESSIONS = 300
const PAGE_EVENTS = 20_000
const PAGE_ID_CHARACTERS = 30_000
/** A session whose rows are further apart would make the range of its page long. */
const NEAR_OFFSETS = 400_000

type Page = Candidate[]

/** Pages of candidates: by partition and place, the long and the scattered ones apart. */
export function pagesOf(candidates: readonly Candidate[], most: number): Page[] {
  const groups = Map.groupBy(candidates, ({ events, at }) => {
    if (events > most) return 'long'
    if (at === null) return 'scattered'
    return `${at.log}/${at.partition}/${at.last - at.first > NEAR_OFFSETS ? 'far' : 'near'}`
  })
  return [...groups].flatMap(([name, group]) => (name === 'long' ? group.map((one) => [one]) : cut(group)))
}

function cut(group: readonly Candidate[]): Page[] {
  const pages: Page[] = []
  let page: Page = []
  let [events, characters] = [0, 0]
  for (const candidate of group.toSorted((a, b) => (a.at?.first ?? 0) - (b.at?.first ?? 0))) {
    const isFar = (candidate.at?.first ?? 0) - (page[0]?.at?.first ?? candidate.at?.first ?? 0) > NEAR_OFFSETS
    const isFull =
      page.length >= PAGE_SESSIONS ||
      events + candidate.events > PAGE_EVENTS ||
      characters + candidate.session_id.length > PAGE_ID_CHARACTERS
    if (page.length > 0 && (isFull || isFar)) {
      pages.push(page)
      page = []
      ;[events, characters] = [0, 0]
    }
    page.push(candidate)
    events += candidate.events
    characters += candidate.session_id.length
  }
  return page.length === 0 ? pages : [...pages, page]
}

const COLUMNS = columnsOf([...SESSION_FIELDS, 'field_notes'])

/** Detectors get texts as agents have written them: decrypted where the connection has the keys, else not at all. */
function asSessionEvent({ fields }: Analytics): RowSchema<SessionEvent> {
  return {
    parse(given) {
      const row = given as Record<string, unknown>
      const hidden = fields.revealOrOmit(row)
      delete row['field_notes']
      const event = toEvent(row)
      return hidden.length === 0 ? event : Object.assign(event, { hidden })
    },
  }
}

/** The sessions of a page, one in memory at a time. */
export async function* readPage(
  analytics: Analytics,
  page: Page,
  { limits, sinceMs }: { readonly limits: SessionLimits; readonly sinceMs: number },
): AsyncGenerator<ReadSession> {
  const masks = new Map(page.map(({ session_id, mask }) => [session_id, mask]))
  let events: SessionEvent[] = []
  let bytes = 0
  const take = (): ReadSession[] => {
    const inOrder = events.toReversed()
    const [first] = inOrder
    if (first === undefined) return []
    const { session_id, agent_id } = first
    return [{ session: { session_id, agent_id, events: inOrder }, mask: masks.get(session_id) ?? '' }]
  }
  const { sql, params } = pageQuery(page, { most: limits.events, sinceMs })
  for await (const event of analytics.query(sql, { schema: asSessionEvent(analytics), params })) {
    if (event.session_id !== events[0]?.session_id) {
      yield* take()
      events = []
      bytes = 0
    }
    bytes += sizeOf(event)
    if (bytes <= limits.bytes || events.length === 0) events.push(event)
  }
  yield* take()
}

/** Latest events first. A session alone is sorted only as far as it is wanted. */
function pageQuery(
  page: Page,
  { most, sinceMs }: { readonly most: number; readonly sinceMs: number },
): { sql: string; params: Record<string, unknown> } {
  const places = page.flatMap(({ at }) => (at === null ? [] : [at]))
  const [one] = places
  const isRange = one !== undefined && places.length === page.length && places.every((at) => at.log === one.log)
  const inRange = isRange && places.every((at) => at.partition === one.partition)
  const range = inRange
    ? `e.log_id = unhex({log:String}) AND e.log_partition = {partition:Int32}
       AND e.log_offset BETWEEN {first:Int64} AND {last:Int64} AND`
    : ''
  const sql = `
    SELECT ${COLUMNS} FROM {database:Identifier}.audit_events AS e
    WHERE ${range} e.session_id IN {ids:Array(String)} AND e.log_time >= fromUnixTimestamp64Milli({sinceMs:Int64})
      AND ${NOT_OF_FINDINGS.replace('event_type', 'e.event_type')}
    ORDER BY e.session_id, e.timestamp DESC, e.run_seq DESC, e.run_id DESC, e.log_offset DESC
    LIMIT {most:UInt64}${page.length === 1 ? '' : ' BY session_id'}`
  const first = places.reduce((least, at) => Math.min(least, at.first), Infinity)
  const last = places.reduce((greatest, at) => Math.max(greatest, at.last), 0)
  const ids = page.map(({ session_id }) => session_id)
  const bounds = inRange ? { log: one.log, partition: one.partition, first, last } : {}
  return { sql, params: { ids, most, sinceMs: Math.floor(sinceMs), ...bounds } }
}

/** Fields that may be long. */
const LONG = ['reasoning', 'output_text', 'tool_output', 'error'] as const
const PARSED = ['input_messages', 'tool_calls_requested', 'tool_input', 'content', 'approval'] as const
const EVENT_BYTES = 1000

function sizeOf(event: SessionEvent): number {
  let bytes = EVENT_BYTES
  for (const name of LONG) bytes += event[name]?.length ?? 0
  for (const name of PARSED) bytes += textLength(event[name])
  return bytes
}

function textLength(value: unknown): number {
  if (value === null || value === undefined) return 0
  return typeof value === 'string' ? value.length : JSON.stringify(value).length
}
