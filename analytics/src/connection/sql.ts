/** Pieces of SQL that several queries share, so that "an error" or "a window" means the same in each. */

/** Events from `since` on and before `until`, by the producer's clock; each end is open unless given. */
export interface TimeWindow {
  readonly since?: Date | undefined
  readonly until?: Date | undefined
}

/** What counts as an error, of the events `e`: each failure once (the end of a session that failed repeats its last error). */
export const ERRORS: string = `(e.error IS NOT NULL OR (e.outcome = 'error' AND e.event_type NOT IN ('session_end', 'session_timeout')))`

/** Leaves out the sessions in which a trail records itself. */
export const NOT_OF_THE_TRAIL: string = `NOT startsWith(session_id, 'trail:')`

/** The window as a condition on the column timestamp, with the parameters it needs. */
export function windowOf({ since, until }: TimeWindow): { condition: string; parameters: Record<string, number> } {
  const conditions = [
    ...(since === undefined ? [] : ['timestamp >= fromUnixTimestamp64Milli({sinceMs:Int64})']),
    ...(until === undefined ? [] : ['timestamp < fromUnixTimestamp64Milli({untilMs:Int64})']),
  ]
  const parameters = {
    ...(since === undefined ? {} : { sinceMs: since.getTime() }),
    ...(until === undefined ? {} : { untilMs: until.getTime() }),
  }
  return { condition: conditions.length === 0 ? 'true' : conditions.join(' AND '), parameters }
}

/** A DateTime64 as ISO 8601 text in UTC, with all the digits it has. */
export function isoText(expression: string): string {
  return `concat(replaceOne(toString(${expression}, 'UTC'), ' ', 'T'), 'Z')`
}

/** 64-bit integers come as text from some servers' JSON and as numbers from others'. */
export function countOf(value: unknown): number {
  return Number(value)
}

export function countOrNull(value: unknown): number | null {
  return value === null ? null : Number(value)
}
