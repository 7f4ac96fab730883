/** SQL expressions that several queries share: "an error" or "a window" means the same in each. */

/** From `since` on and before `until`; each end is open unless given. */
export interface TimeWindow {
  /**
   * The time that the window is of. `event_time`: when the event happened, by the producer's clock. `log_time`: when the log
   * appended it: finds also the spool of a dead run, which arrives hours later. Neither is for a job that must take each event
   * once: an event may be stored long after both ({@link changesSince}). @defaultValue `event_time`
   */
  readonly by?: 'event_time' | 'log_time' | undefined
  readonly since?: Date | undefined
  readonly until?: Date | undefined
}

/** Whether an event of the table `e` is an error. Counts each failure once: the end of a failed session repeats its last error. */
export const ERRORS: string = `(e.error IS NOT NULL OR (e.outcome = 'error' AND e.event_type NOT IN ('session_end', 'session_timeout')))`

/** Excludes the sessions in which a trail records itself. */
export const NOT_OF_THE_TRAIL: string = `NOT startsWith(session_id, 'trail:')`

/** The column of the window's time. */
export function clockOf({ by = 'event_time' }: TimeWindow): 'timestamp' | 'log_time' {
  return by === 'log_time' ? 'log_time' : 'timestamp'
}

/** The window as a condition on a DateTime64 column, with its parameters `sinceMs` and `untilMs`. */
export function windowOf(
  { since, until, by }: TimeWindow,
  column: string = clockOf({ by }),
): { condition: string; parameters: Record<string, number> } {
  const conditions = [
    ...(since === undefined ? [] : [`${column} >= fromUnixTimestamp64Milli({sinceMs:Int64})`]),
    ...(until === undefined ? [] : [`${column} < fromUnixTimestamp64Milli({untilMs:Int64})`]),
  ]
  const parameters = {
    ...(since === undefined ? {} : { sinceMs: since.getTime() }),
    ...(until === undefined ? {} : { untilMs: until.getTime() }),
  }
  return { condition: conditions.length === 0 ? 'true' : conditions.join(' AND '), parameters }
}

/** A DateTime64 as ISO 8601 text in UTC, with all its digits. */
export function isoText(expression: string): string {
  return `concat(replaceOne(toString(${expression}, 'UTC'), ' ', 'T'), 'Z')`
}
