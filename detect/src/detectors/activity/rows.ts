/** Rows of the detectors' queries: one an agent, with its figures in arrays, so that a fleet's history is few rows. */
import type { RowSchema } from '@agent-audit/analytics'

export interface AgentRow {
  readonly agent_id: string
}

type Kind = 'numbers' | 'texts'
type RowOf<Fields extends Record<string, Kind>> = AgentRow & {
  readonly [Name in keyof Fields]: Fields[Name] extends 'numbers' ? readonly number[] : readonly string[]
}

/** A row with the agent's id and arrays. Servers differ in how their JSON gives 64-bit integers: as text or as numbers. */
export function agentRow<const Fields extends Record<string, Kind>>(fields: Fields): RowSchema<RowOf<Fields>> {
  return {
    parse(row) {
      const values = row as Readonly<Record<string, unknown>>
      const read: Record<string, unknown> = { agent_id: String(values['agent_id']) }
      for (const [name, kind] of Object.entries(fields)) {
        const array = values[name]
        if (!Array.isArray(array)) throw new TypeError(`${name}: expected an array`)
        read[name] = kind === 'numbers' ? array.map(Number) : array.map(String)
      }
      return read as RowOf<Fields>
    },
  }
}

/** Events that an agent did not do itself: the trail's own. */
export const OF_THE_AGENT: string = `event_type NOT IN ('trail_started', 'trail_stopped', 'events_lost', 'trail_read', 'retention_applied', 'system_prompt')`
const HOUR = 'toStartOfHour(timestamp)'
/** Rows of the window's agents from `days` before its first day on. The condition is one of hours, as aggregates by hour need it. */
export function history(days: number): string {
  return `${HOUR} >= toStartOfDay({since:DateTime64(6)}, 'UTC') - INTERVAL ${days} DAY AND ${HOUR} < {until:DateTime64(6)}`
}
export const AGENTS = 'agent_id IN {agents:Array(String)}'
/** Hours since 1970. */
export const HOUR_NUMBER: string = `intDiv(toUnixTimestamp(${HOUR}), 3600)`
export const EVENTS = '{database:Identifier}.audit_events'

export const HOUR_MS = 3_600_000
/** Days that an hour is compared with. */
export const BASELINE_DAYS = 28
/** An incident may have begun so many hours before the window: hours that long before it are judged too. */
export const LEAD_HOURS = 27
/** Days of history that {@link BASELINE_DAYS} and {@link LEAD_HOURS} need. */
export const HISTORY_DAYS: number = BASELINE_DAYS + 2

/** The hours of a window, as numbers; `origin` is the first hour of the history. */
export interface Hours {
  readonly origin: number
  readonly since: number
  /** The first hour that has not begun. */
  readonly until: number
}

export function hoursOf(window: { readonly since: Date; readonly until: Date }, days: number = HISTORY_DAYS): Hours {
  const since = Math.floor(window.since.getTime() / HOUR_MS)
  const until = Math.ceil(window.until.getTime() / HOUR_MS)
  return { since, until, origin: since - (since % 24) - days * 24 }
}

/** Values by hour, from the origin on: an hour without a row is 0. */
export function dense(hours: readonly number[], values: readonly number[], { origin, until }: Hours): Float64Array {
  const series = new Float64Array(until - origin)
  for (const [index, hour] of hours.entries()) {
    if (hour >= origin && hour < until) series[hour - origin] = values[index] ?? 0
  }
  return series
}

/** `2026-11-24T10:00:00Z` */
export function isoHour(hour: number): string {
  return new Date(hour * HOUR_MS).toISOString().replace('.000Z', 'Z')
}
