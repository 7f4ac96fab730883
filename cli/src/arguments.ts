/** Parsers of option values. */
import { InvalidArgumentError, Option } from 'commander'

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** A point in time: a duration before now (`90s`, `30m`, `24h`, `7d`, `2w`), a date (`2026-11-24`, UTC) or ISO 8601. */
export function parseTime(text: string): Date {
  const [, amount, unit] = /^(\d+)([smhdw])$/.exec(text) ?? []
  const time =
    amount !== undefined && unit !== undefined
      ? new Date(Date.now() - Number(amount) * (UNIT_MS[unit] ?? 0))
      : new Date(/^\d{4}-\d\d-\d\dT[\d:.]+$/.test(text) ? `${text}Z` : text)
  if (/^\d+[smhdw]$|^\d{4}-\d\d-\d\d/.test(text) && !Number.isNaN(time.getTime())) return time
  throw new InvalidArgumentError('expected a duration such as 24h or 7d, or a date such as 2026-11-24T10:00:00Z')
}

/** The option that says which time a window is of, as the analytics name it. */
export function clockOption(): Option {
  return new Option(
    '--by <time>',
    'the time of --since and --until: event-time, by the producer, or log-time, by the log',
  )
    .default('event_time', 'event-time')
    .argParser((text) => {
      if (text === 'event-time' || text === 'log-time') return text.replace('-', '_')
      throw new InvalidArgumentError('expected event-time or log-time')
    })
}

/** A whole number from `min` to `max`. */
export function parseCount(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}`)
  }
}

/** Collects the values of a repeatable option. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value]
}
