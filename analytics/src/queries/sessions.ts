/** The list of sessions: one row a session. */
import { EVENTS_TABLE, inChunks } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { exactSum, number, numbersOf, type Row, text } from '../connection/rows.ts'
import { clockOf, ERRORS, isoText, NOT_OF_THE_TRAIL, type TimeWindow, windowOf } from '../connection/sql.ts'
import { byIds, type SessionSet, stretchesOf } from './stretches.ts'

export interface SessionsOptions extends TimeWindow {
  /** Most sessions to return, the latest ones. @defaultValue 50 */
  readonly limit?: number | undefined
  /** Only sessions of this agent. */
  readonly agent?: string | undefined
}

/** One session over all runs that wrote to it. Null tokens were not recorded, which differs from 0. */
export interface SessionSummary {
  readonly session_id: string
  /** The agent that started it. */
  readonly agent_id: string
  readonly user_id: string | null
  /** Of the first and last event, `2026-11-24T10:00:00.123456Z`. */
  readonly started_at: string
  readonly last_at: string
  /** open: neither ended nor timed out, or resumed since. */
  readonly state: 'open' | 'ended' | 'timeout'
  /** The outcome of its last end. */
  readonly outcome: string | null
  readonly events: number
  readonly llm_calls: number
  readonly tool_calls: number
  readonly errors: number
  readonly input_tokens: number | null
  readonly output_tokens: number | null
  /** Exact digits of the sums that a double cannot hold, by field; those fields themselves are rounded. Absent without such sums. */
  readonly exact?: Readonly<Record<string, string>> | undefined
}

const DEFAULT_LIMIT = 50

/** Stretches of time before the end of the window in which its latest sessions are looked for, milliseconds. */
const SPANS = [0.25, 2, 16, 128, 1024].map((hours) => hours * 3_600_000)
/** A longer id, which only another producer writes, would make the address of a query too long: its hash stands for it. */
const LONGEST_ID_BYTES = 256
/** What one query is about. */
const IDS = { size: 3000, sizeOf: (id: string): number => Buffer.byteLength(id) }
const HASHES = { elements: 200 }

/**
 * Lists the sessions with an event in the window, the latest by the window's time first. The figures of a session count all of its events, also those
 * outside of the window. Excludes the trail's own sessions (`trail:<run>`).
 */
export async function sessions(connection: Analytics, options: SessionsOptions = {}): Promise<SessionSummary[]> {
  const { analytics } = await withoutQuarantined(connection)
  const latest = await latestSessions(connection, analytics, options)
  const rows: SummaryRow[] = []
  for (const set of inSets(latest)) {
    const { condition, parameters } = await stretchesOf(connection, set)
    const sql = summaries(clockOf(options), `${set.condition} AND ${condition}`)
    rows.push(...(await analytics.rows<SummaryRow>(sql, { ...parameters, ...set.parameters })))
  }
  return rows.toSorted(byLatest).map(toSummary)
}

/** A session by its id, or by a hash of it if it is long. */
type Latest = Readonly<Record<'id' | 'hash', unknown>>

function inSets(latest: readonly Latest[]): SessionSet[] {
  const ids = latest.filter(({ hash }) => hash === null).map((row) => text(row, 'id'))
  const hashes = latest.filter(({ hash }) => hash !== null).map((row) => text(row, 'hash'))
  return [...inChunks(ids, IDS).map(byIds), ...inChunks(hashes, HASHES).map(byHashes)]
}

/** Sessions by the hash of their ids: the server compares the hash of each id. */
function byHashes(hashes: readonly string[]): SessionSet {
  return { condition: `toString(sipHash64(session_id)) IN {hashes:Array(String)}`, parameters: { hashes } }
}

/**
 * The latest sessions. Those of a stretch of time before the end of the window are its latest ones, if there are
 * enough of them: a longer stretch is read only otherwise. The log's newest time says where the rows end; rows of a clock that
 * is ahead are in each stretch without `until`.
 */
async function latestSessions(
  connection: Analytics,
  analytics: Analytics,
  { agent, limit = DEFAULT_LIMIT, ...window }: SessionsOptions,
): Promise<Latest[]> {
  const clock = clockOf(window)
  const newest = await newestLogTime(connection)
  const end = Math.min(window.until?.getTime() ?? Infinity, newest)
  const begins = SPANS.map((span) => end - span).filter((begin) => begin > (window.since?.getTime() ?? 0))
  for (const begin of [...begins.map((ms) => new Date(ms)), window.since]) {
    const { condition, parameters } = windowOf({ ...window, since: begin })
    const rows = await analytics.rows<Latest>(
      `SELECT if(length(session_id) <= ${LONGEST_ID_BYTES}, session_id, '') AS id,
         if(length(session_id) <= ${LONGEST_ID_BYTES}, NULL, toString(sipHash64(session_id))) AS hash
       FROM {database:Identifier}.${EVENTS_TABLE}
       WHERE ${condition} AND ${NOT_OF_THE_TRAIL} ${agent === undefined ? '' : 'AND agent_id = {agent:String}'}
       GROUP BY session_id ORDER BY max(${clock}) DESC, session_id LIMIT {limit:UInt32}`,
      { ...parameters, agent: agent ?? '', limit },
    )
    if (rows.length >= limit || begin === window.since) return rows
  }
  return []
}

/** Milliseconds; the server knows it without reading. */
async function newestLogTime(connection: Analytics): Promise<number> {
  const [row] = await connection.rows<Row>(
    `SELECT toString(toUnixTimestamp64Milli(max(log_time))) AS newest FROM {database:Identifier}.${EVENTS_TABLE}`,
  )
  return row === undefined ? 0 : number(row, 'newest')
}

type SummaryRow = Readonly<Record<keyof SessionSummary | 'latest', unknown>>

function summaries(clock: string, where: string): string {
  return `SELECT session_id,
       argMin(e.agent_id, e.timestamp) AS agent_id, any(e.user_id) AS user_id,
       ${isoText('min(e.timestamp)')} AS started_at, ${isoText('max(e.timestamp)')} AS last_at,
       argMaxIf(event_type, e.timestamp, event_type IN ('session_start', 'session_resumed', 'session_end', 'session_timeout')) AS state,
       argMaxIf(tuple(e.outcome), e.timestamp, event_type IN ('session_end', 'session_timeout')).1 AS outcome,
       count() AS events, countIf(event_type = 'llm_call') AS llm_calls, countIf(event_type = 'tool_call') AS tool_calls,
       countIf(${ERRORS}) AS errors, ${exactSum('e.input_tokens')} AS input_tokens, ${exactSum('e.output_tokens')} AS output_tokens,
       ${isoText(`max(e.${clock})`)} AS latest
     FROM {database:Identifier}.${EVENTS_TABLE} AS e
     WHERE ${where}
     GROUP BY session_id`
}

function byLatest(one: SummaryRow, other: SummaryRow): number {
  const [latest, others] = [text(one, 'latest'), text(other, 'latest')]
  if (latest !== others) return latest < others ? 1 : -1
  return text(one, 'session_id') < text(other, 'session_id') ? -1 : 1
}

function toSummary(row: SummaryRow): SessionSummary {
  return {
    session_id: text(row, 'session_id'),
    agent_id: text(row, 'agent_id'),
    user_id: row.user_id as string | null,
    started_at: text(row, 'started_at'),
    last_at: text(row, 'last_at'),
    state: stateAfter(text(row, 'state')),
    outcome: row.outcome as string | null,
    events: number(row, 'events'),
    llm_calls: number(row, 'llm_calls'),
    tool_calls: number(row, 'tool_calls'),
    errors: number(row, 'errors'),
    ...numbersOf(row, ['input_tokens', 'output_tokens']),
  }
}

function stateAfter(lastTurn: string): SessionSummary['state'] {
  if (lastTurn === 'session_end') return 'ended'
  return lastTurn === 'session_timeout' ? 'timeout' : 'open'
}
