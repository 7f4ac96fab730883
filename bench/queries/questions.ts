/** The questions of the benchmark. Each is asked about other rows every time, so that no cache of answers or conditions helps. */
import { type Analytics, eventById, runQuery, sessions, sessionTrail } from '@agent-audit/analytics'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import {
  AGENT_ACTIVITY,
  AGENT_EVENTS,
  AGENT_HOURS,
  EVENT_BY_ID,
  LATEST_SESSIONS,
  SESSION_TRAIL,
  TEXT_OF_A_DAY,
  TOKENS_OF_A_MONTH,
  TOKENS_QUERY,
} from './query-figures.ts'

/** A row of the table that a question is about. */
export interface Asked {
  readonly eventId: string
  readonly sessionId: string
  readonly agentId: string
  readonly at: Date
}

export interface Question {
  readonly name: string
  /** @returns How many rows the answer has. */
  readonly ask: (analytics: Analytics, about: Asked) => Promise<number>
}

const HOUR_MS = 3_600_000
const TABLE = `{database:Identifier}.${EVENTS_TABLE}`
const UNTIL = 'fromUnixTimestamp64Milli({until:Int64})'
const HOURS = (column: string): string =>
  `${column} > ${UNTIL} - toIntervalHour({hours:UInt32}) AND ${column} <= ${UNTIL}`
const TEXTS = ['output_text', 'input_messages', 'tool_input', 'tool_output', 'content']

function ofAgent(select: string, end: string): Question['ask'] {
  const sql = `SELECT ${select} FROM ${TABLE} WHERE agent_id = {agentId:String} AND ${end}`
  return async (analytics, { agentId, at }) => {
    const rows = await analytics.rows(sql, { agentId, until: at.getTime(), hours: 24 })
    return rows.length
  }
}

export const QUESTIONS: readonly Question[] = [
  { name: SESSION_TRAIL, ask: async (analytics, { sessionId }) => (await sessionTrail(analytics, sessionId)).length },
  {
    name: EVENT_BY_ID,
    ask: async (analytics, { eventId }) => ((await eventById(analytics, eventId)) === undefined ? 0 : 1),
  },
  {
    name: AGENT_ACTIVITY,
    ask: ofAgent(
      'timestamp, event_type, session_id, tool_name, outcome, error_type, input_tokens, output_tokens, latency_ms, execution_time_ms',
      HOURS('timestamp'),
    ),
  },
  { name: AGENT_EVENTS, ask: ofAgent('*', `${HOURS('timestamp')} ORDER BY timestamp DESC LIMIT 100`) },
  {
    name: AGENT_HOURS,
    ask: ofAgent(
      `toStartOfHour(timestamp) AS hour, event_type, model_id, count() AS events,
       countIf(toString(error) IS NOT NULL OR (outcome = 'error' AND event_type NOT IN ('session_end', 'session_timeout'))) AS errors,
       toString(sum(toInt128(input_tokens))) AS input_tokens, toString(sum(toInt128(output_tokens))) AS output_tokens`,
      `${HOURS('toStartOfHour(timestamp)')} GROUP BY hour, event_type, model_id`,
    ),
  },
  {
    name: TOKENS_OF_A_MONTH,
    async ask(analytics, { at }) {
      const rows = await analytics.rows(
        `SELECT toDate(timestamp) AS day, agent_id, toString(sum(toInt128(input_tokens))) AS input_tokens,
           toString(sum(toInt128(output_tokens))) AS output_tokens
         FROM ${TABLE} WHERE toDate(timestamp) > toDate(${UNTIL}) - 30 AND toDate(timestamp) <= toDate(${UNTIL})
         GROUP BY day, agent_id`,
        { until: at.getTime() },
      )
      return rows.length
    },
  },
  {
    name: TOKENS_QUERY,
    async ask(analytics, { at }) {
      const range = { since: new Date(at.getTime() - 30 * 24 * HOUR_MS), until: at }
      let rows = 0
      for await (const _ of runQuery(analytics, 'tokens', range)) rows++
      return rows
    },
  },
  {
    name: LATEST_SESSIONS,
    async ask(analytics, { at }) {
      const found = await sessions(analytics, { since: new Date(at.getTime() - 24 * HOUR_MS), until: at })
      return found.length
    },
  },
  {
    name: TEXT_OF_A_DAY,
    async ask(analytics, { at }) {
      const found = TEXTS.map((column) => `${column} LIKE {pattern:String}`).join(' OR ')
      const rows = await analytics.rows(
        `SELECT event_id, timestamp, session_id FROM ${TABLE} WHERE ${HOURS('timestamp')} AND (${found}) LIMIT 100`,
        { until: at.getTime(), hours: 24, pattern: `%ORD-${100_000 + (at.getTime() % 900_000)}%` },
      )
      return rows.length
    },
  },
]
