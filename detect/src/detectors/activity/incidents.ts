/**
 * Consecutive hours (or days) that stand out are one incident, and one finding. Its name is where it began: found by walking back
 * from any of its hours, at most `longest` of them. An incident that has lasted longer is named by the first hour of each day
 * that it goes on, so that it is told again once a day. Both depend on verdicts of recorded hours alone, not on the window.
 */
export interface IncidentRules {
  /** Quiet hours that an incident may hold. */
  readonly gap: number
  /** Hours after which it is told again. */
  readonly longest: number
  /** Hours of a day: 24; 7 for days of a week. */
  readonly period: number
}

export const BY_HOUR: IncidentRules = { gap: 2, longest: 24, period: 24 }
export const BY_DAY: IncidentRules = { gap: 1, longest: 14, period: 7 }

export interface Incident<T> {
  /** Where it began. */
  readonly start: number
  /** Its hours within the window, in order. */
  readonly hours: readonly { readonly at: number; readonly what: T }[]
}

/** @param standsOut - The verdict of an hour, undefined if it is as usual; asked for hours up to `longest` + `gap` before `since`. */
export function incidentsOf<T>(
  { since, until }: { readonly since: number; readonly until: number },
  standsOut: (at: number) => T | undefined,
  rules: IncidentRules = BY_HOUR,
): Incident<T>[] {
  const verdicts = new Map<number, T | undefined>()
  const verdict = (at: number): T | undefined => {
    if (!verdicts.has(at)) verdicts.set(at, standsOut(at))
    return verdicts.get(at)
  }
  const incidents = new Map<number, { at: number; what: T }[]>()
  for (let at = since; at < until; at++) {
    const what = verdict(at)
    if (what === undefined) continue
    const start = startOf(at, (hour) => verdict(hour) !== undefined, rules)
    const hours = incidents.get(start) ?? []
    hours.push({ at, what })
    incidents.set(start, hours)
  }
  return [...incidents].map(([start, hours]) => ({ start, hours }))
}

function startOf(at: number, standsOut: (at: number) => boolean, { gap, longest, period }: IncidentRules): number {
  let start = at
  for (let hour = at - 1; hour >= start - 1 - gap && hour >= at - longest; hour--) {
    if (standsOut(hour)) start = hour
  }
  if (at - start < longest) return start
  let first = at - (at % period)
  while (!standsOut(first)) first++
  return first
}
