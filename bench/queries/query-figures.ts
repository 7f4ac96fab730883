/** What the benchmark of queries measures, as its results keep it. */

/** Questions of the benchmark of queries; those with a bound: bench/document/bounds.ts. */
export const SESSION_TRAIL = 'session trail, all columns'
export const EVENT_BY_ID = 'event by id, all columns'
export const AGENT_ACTIVITY = "agent's last 24 h, each event, ten columns"
export const AGENT_EVENTS = "agent's last 24 h, latest 100 events, all columns"
export const AGENT_HOURS = "agent's last 24 h, sums by hour, type and model"
export const TOKENS_OF_A_MONTH = 'tokens by agent and day, 30 days'
export const TOKENS_QUERY = 'query `tokens` (by model, with costs), 30 days'
export const LATEST_SESSIONS = 'latest 50 sessions of a day'
export const TEXT_OF_A_DAY = 'text search in one day'

/** One question, asked about other rows each time. */
export interface QueryFigures {
  /** Of the trail. */
  readonly rows: number
  readonly question: string
  readonly p50Ms: number
  readonly p95Ms: number
  /** CPU of the server a run, the mean, milliseconds: on a busy machine it says more. */
  readonly cpuMs: number
  /** Of the answer, the mean. */
  readonly answerRows: number
}

/** Bytes an event on disk. */
export interface StoredBytes {
  readonly rows: number
  readonly parts: number
  /** All included. */
  readonly bytesAnEvent: number
  readonly indexes: number
  readonly projections: Readonly<Record<string, number>>
}

interface CostAnEvent {
  readonly insertUs: number
  /** To merge it once. */
  readonly mergeUs: number
}

/** CPU of the server an event, in tables with and without what questions are answered from. */
export interface InsertCost {
  readonly blockRows: number
  readonly rounds: number
  readonly with: CostAnEvent
  readonly without: CostAnEvent
}

export interface QueriesPart {
  readonly agents: number
  /** Of each question. */
  readonly runs: number
  readonly figures: readonly QueryFigures[]
  readonly stored: readonly StoredBytes[]
  readonly inserts: InsertCost
}
