/** What `why` reads of a session. Of a long one only the nearest events: every list here has a bound. */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { number, text } from '../connection/rows.ts'
import { isoText } from '../connection/sql.ts'
import type { ProvenanceEvent } from '../provenance/provenance.ts'
import { byIds, type Stretches, stretchesOf } from '../queries/stretches.ts'
import { EVENT_COLUMNS, toEvent, type TrailEvent } from '../queries/session-trail.ts'
import type { Change, EventRef } from './answer.ts'

/** The fields that say how events hang together: about 300 bytes an event. */
export type Step = EventRef & Pick<TrailEvent, 'run_seq' | 'parent_event_id' | 'tool_call_id' | 'approval_id' | 'exact'>

/** Bounds of what is read; the answer says where one was reached. */
export interface WhyLimits {
  /** Events before and after the one asked for, of which only the few fields of a {@link Step} are read. */
  readonly steps: number
  /** Events before the action that are searched for its arguments, and their size in characters. */
  readonly dataEvents: number
  readonly dataCharacters: number
}

export const LIMITS: WhyLimits = { steps: 10_000, dataEvents: 2000, dataCharacters: 16 * 2 ** 20 }
const MOST_CHANGES = 50
const MOST_SESSIONS = 100

const TABLE = `{database:Identifier}.${EVENTS_TABLE}`
const STEP = `e.event_id AS event_id, e.event_type AS event_type, ${isoText('e.timestamp')} AS timestamp, e.agent_id AS agent_id,
  e.tool_name AS tool_name, e.outcome AS outcome, toString(e.run_seq) AS run_seq, e.parent_event_id AS parent_event_id,
  e.tool_call_id AS tool_call_id, e.approval_id AS approval_id`
const DATA = `e.event_id AS event_id, e.event_type AS event_type, ${isoText('e.timestamp')} AS timestamp, e.agent_id AS agent_id,
  e.outcome AS outcome, toString(e.run_seq) AS run_seq, e.tool_call_id AS tool_call_id, e.tool_name AS tool_name,
  e.tool_input AS tool_input, e.tool_output AS tool_output, e.output_text AS output_text, e.input_messages AS input_messages,
  e.content AS content, lower(hex(e.run_id)) AS run_id, e.field_notes AS field_notes, lower(hex(e.system_prompt_hash)) AS system_prompt_hash`

const TIME = `fromUnixTimestamp64Micro({time:Int64}, 'UTC')`
/** The condition on the time alone uses the index by_time. */
const BEFORE = `e.timestamp <= ${TIME} AND (e.timestamp, e.run_seq) < (${TIME}, {seq:Int64})`
const NOT_BEFORE = `e.timestamp >= ${TIME} AND (e.timestamp, e.run_seq) >= (${TIME}, {seq:Int64})`

type Place = Pick<TrailEvent, 'timestamp' | 'run_seq' | 'exact'>

/** A stretch of a session, and figures of the whole. */
export interface Around {
  readonly steps: readonly Step[]
  readonly events: number
  /** Events before the place. */
  readonly before: number
  readonly startedAt: string
  readonly lastAt: string
  /** Times that it was resumed. */
  readonly resumed: number
}

/** Reads one session around a place in it. */
export class SessionReader {
  readonly #analytics: Analytics
  readonly #sessionId: string
  readonly #stretches: Stretches
  /** The condition for the session's own rows. */
  readonly #own: string

  private constructor(analytics: Analytics, sessionId: string, stretches: Stretches) {
    this.#analytics = analytics
    this.#sessionId = sessionId
    this.#stretches = stretches
    this.#own = `e.session_id = {sessionId:String} AND ${stretches.condition}`
  }

  /** Leaves quarantined rows out. */
  static async open(connection: Analytics, sessionId: string): Promise<SessionReader> {
    const stretches = await stretchesOf(connection, byIds([sessionId]))
    const { analytics } = await withoutQuarantined(connection)
    return new SessionReader(analytics, sessionId, stretches)
  }

  /** The events around `place` in their order, and how many there are in all. */
  async steps(place: Place, most: number): Promise<Around> {
    const parameters = { ...this.#at(place), most }
    const [before, after, [totals]] = await Promise.all([
      this.#analytics.rows<Record<string, unknown>>(
        `SELECT ${STEP} FROM ${TABLE} AS e WHERE ${this.#own} AND ${BEFORE} ORDER BY e.timestamp DESC, e.run_seq DESC LIMIT {most:UInt32}`,
        parameters,
      ),
      this.#analytics.rows<Record<string, unknown>>(
        `SELECT ${STEP} FROM ${TABLE} AS e WHERE ${this.#own} AND ${NOT_BEFORE} ORDER BY e.timestamp, e.run_seq LIMIT {most:UInt32}`,
        parameters,
      ),
      this.#analytics.rows<Record<'events' | 'before' | 'resumed' | 'startedAt' | 'lastAt', unknown>>(
        `SELECT count() AS events, countIf((e.timestamp, e.run_seq) < (${TIME}, {seq:Int64})) AS before,
           countIf(e.event_type = 'session_resumed') AS resumed, ${isoText('min(e.timestamp)')} AS startedAt, ${isoText('max(e.timestamp)')} AS lastAt
         FROM ${TABLE} AS e WHERE ${this.#own}`,
        parameters,
      ),
    ])
    const steps = [...before.toReversed(), ...after].map((row) => toEvent(row, this.#analytics.fields) as Step)
    const { timestamp } = place
    const row = totals ?? { events: 0, before: 0, resumed: 0, startedAt: timestamp, lastAt: timestamp }
    const [events, earlier, resumed] = [number(row, 'events'), number(row, 'before'), number(row, 'resumed')]
    return { steps, events, before: earlier, resumed, startedAt: text(row, 'startedAt'), lastAt: text(row, 'lastAt') }
  }

  /** Whole events by their ids. */
  async whole(ids: readonly string[]): Promise<Map<string, TrailEvent>> {
    const rows = await this.#analytics.rows<Record<string, unknown>>(
      `SELECT ${EVENT_COLUMNS} FROM ${TABLE} AS e WHERE ${this.#own} AND e.event_id IN {ids:Array(UUID)}
       ORDER BY e.log_id DESC, e.log_partition DESC, e.log_offset DESC`,
      { ...this.#mine, ids },
    )
    return new Map(rows.map((row) => toEvent(row, this.#analytics.fields)).map((event) => [event.event_id, event]))
  }

  /** Ids of the latest model calls before `place` that asked for the call with this id, newest first. */
  async requesters(place: Place, toolCallId: string): Promise<string[]> {
    const rows = await this.#analytics.rows<{ event_id: string }>(
      `SELECT e.event_id AS event_id FROM ${TABLE} AS e
       WHERE ${this.#own} AND ${BEFORE} AND e.event_type = 'llm_call' AND position(e.tool_calls_requested, {quoted:String}) > 0
       ORDER BY e.timestamp DESC, e.run_seq DESC LIMIT 5`,
      { ...this.#at(place), quoted: JSON.stringify(toolCallId) },
    )
    return rows.map((row) => row.event_id)
  }

  /** Events before `place` with their texts: the messages of people first, then the latest, up to the limits. */
  async data(
    place: Place,
    { dataEvents, dataCharacters }: WhyLimits,
  ): Promise<{ events: (ProvenanceEvent & EventRef)[]; complete: boolean }> {
    const read: (ProvenanceEvent & EventRef)[] = []
    let characters = 0
    const rows = this.#analytics.query(
      `SELECT ${DATA} FROM ${TABLE} AS e
       WHERE ${this.#own} AND ${BEFORE} AND (e.tool_output IS NOT NULL OR e.input_messages IS NOT NULL OR e.output_text IS NOT NULL OR e.tool_input IS NOT NULL OR e.content IS NOT NULL)
       ORDER BY e.event_type IN ('session_start', 'user_message') DESC, e.timestamp DESC, e.run_seq DESC LIMIT {most:UInt32}`,
      {
        schema: { parse: (row) => row as Record<string, unknown> },
        params: { ...this.#at(place), most: dataEvents + 1 },
      },
    )
    let complete = true
    for await (const row of rows) {
      characters += Object.values(row).reduce<number>(
        (sum, value) => sum + (typeof value === 'string' ? value.length : 0),
        0,
      )
      complete = read.length === 0 || (characters <= dataCharacters && read.length < dataEvents)
      if (!complete) break
      read.push(toEvent(row, this.#analytics.fields))
    }
    const events = read.toSorted((one, other) =>
      one.timestamp < other.timestamp ? -1 : Number(one.timestamp > other.timestamp),
    )
    return { events, complete }
  }

  /** Each first value and each change of prompt, model and version up to `place`, by agent; the model of model calls alone. */
  async changes(place: Place): Promise<(Change & { readonly what: 'system_prompt' | 'model' | 'version' })[]> {
    return this.#analytics.rows(
      `SELECT what, event_id, ${isoText('time')} AS timestamp, agent_id, earlier AS before, assumeNotNull(current) AS value
       FROM (
         SELECT pair.1 AS what, pair.2 AS current, event_id, agent_id, time,
           lagInFrame(current) OVER (PARTITION BY agent_id, what ORDER BY time, seq) AS earlier
         FROM (
           SELECT e.event_id AS event_id, e.agent_id AS agent_id, e.timestamp AS time, e.run_seq AS seq,
             arrayJoin([('system_prompt', lower(hex(e.system_prompt_hash))), ('version', e.agent_version),
               ('model', if(e.event_type = 'llm_call', e.model_id, NULL))]) AS pair
           FROM ${TABLE} AS e
           WHERE ${this.#own} AND e.timestamp <= ${TIME} AND (e.timestamp, e.run_seq) <= (${TIME}, {seq:Int64}))
         WHERE current IS NOT NULL)
       WHERE earlier IS NULL OR earlier != current
       ORDER BY time DESC LIMIT ${MOST_CHANGES}`,
      this.#at(place),
    )
  }

  /** Sessions that this one started from `place` on, up to an hour after its last event: no index finds them by their parent. */
  async subSessions(
    place: Place,
    lastAt: string,
  ): Promise<{ session_id: string; agent_id: string; event_id: string; timestamp: string; parent: string | null }[]> {
    return this.#analytics.rows(
      `SELECT e.session_id AS session_id, e.agent_id AS agent_id, e.event_id AS event_id, ${isoText('e.timestamp')} AS timestamp,
         e.parent_event_id AS parent
       FROM ${TABLE} AS e
       WHERE e.parent_session_id = {sessionId:String} AND e.event_type = 'session_start'
         AND e.timestamp BETWEEN ${TIME} AND fromUnixTimestamp64Micro({until:Int64}, 'UTC') + INTERVAL 1 HOUR
       ORDER BY e.timestamp LIMIT ${MOST_SESSIONS}`,
      { ...this.#at(place), until: microseconds(lastAt) },
    )
  }

  /** Its first start. */
  async start(): Promise<TrailEvent | undefined> {
    const [row] = await this.#analytics.rows<Record<string, unknown>>(
      `SELECT ${EVENT_COLUMNS} FROM ${TABLE} AS e WHERE ${this.#own} AND e.event_type = 'session_start'
       ORDER BY e.timestamp, e.run_seq LIMIT 1`,
      this.#mine,
    )
    return row === undefined ? undefined : toEvent(row, this.#analytics.fields)
  }

  get #mine(): Record<string, unknown> {
    return { ...this.#stretches.parameters, sessionId: this.#sessionId }
  }

  #at({ timestamp, run_seq, exact }: Place): Record<string, unknown> {
    return { ...this.#mine, time: microseconds(timestamp), seq: exact?.['run_seq'] ?? String(run_seq) }
  }
}

/** Since 1970, as digits, of `2026-11-24T10:00:00.123456Z`. */
function microseconds(iso: string): string {
  return String(BigInt(Date.parse(`${iso.slice(0, 19)}Z`)) * 1000n + BigInt(iso.slice(20, 26)))
}
