/**
 * What a query of the catalogue is: a SELECT with bound parameters, beside all that a reader has to know of it. The types of
 * parameters and rows are interfaces, for people; their descriptions are data, for the checks, the command and
 * docs/queries.md. The compiler holds the two together.
 */

/** `time`: ISO 8601 text. `day`: `2026-11-24`. `integer`: a number, or a bigint where a double cannot hold it. */
export type ColumnKind = 'text' | 'time' | 'day' | 'integer' | 'number' | 'boolean'

type KindOf<T> = [T] extends [string]
  ? 'text' | 'time' | 'day'
  : [T] extends [boolean]
    ? 'boolean'
    : [T] extends [number]
      ? 'number'
      : 'integer'

/** A column of an answer. */
export interface Column<Kind extends ColumnKind = ColumnKind> {
  readonly kind: Kind
  /** What a value means, with its unit. */
  readonly about: string
  /** Whether a value may be null: it does not apply, or was not recorded. */
  readonly nullable?: boolean
  /** Of an integer that 64 bits may not hold, such as a sum. */
  readonly wide?: boolean
}

export type Columns<Row> = {
  readonly [Name in keyof Row & string]: Column<KindOf<NonNullable<Row[Name]>>> &
    (null extends Row[Name] ? { readonly nullable: true } : { readonly nullable?: false })
}

/** A parameter of a query: a Date, a text, or one of some words. */
export interface Parameter {
  readonly kind: 'time' | 'text' | 'choice'
  readonly about: string
  readonly required?: boolean
  /** The words of a `choice`. */
  readonly choices?: readonly string[]
  /** The value of one that is not given, as the command takes it. */
  readonly fallback?: string
}

type ParameterOf<T> = {
  readonly kind: [T] extends [Date] ? 'time' : string extends T ? 'text' : 'choice'
} & (string extends T ? unknown : [T] extends [Date] ? unknown : { readonly choices: readonly T[] })

export type Parameters<Params> = {
  readonly [Name in keyof Params & string]-?: Parameter &
    ParameterOf<NonNullable<Params[Name]>> &
    (undefined extends Params[Name] ? { readonly required?: false } : { readonly required: true })
}

/** What reading costs: events in range, which an index finds, or sums that a projection has of them. */
export type Cost = (
  | {
      /** The skip index of audit_events by which granules outside of the range are not read. */
      readonly index: 'by_time' | 'by_session'
      /** How often each event in range is read. */
      readonly passes: number
    }
  | {
      /** The projection of audit_events that answers. No event is read, unless rows are quarantined. */
      readonly projection: 'days'
    }
) & {
  /** What else it takes, such as the memory of a large group. */
  readonly note?: string
}

/** A query of the catalogue. */
export interface NamedQuery<Params = never, Row = unknown> {
  /** Such as `tokens`. */
  readonly name: string
  /** The question that it answers, one sentence. */
  readonly answers: string
  /** The events and columns that it reads, and what it leaves out. */
  readonly reads: string
  readonly cost: Cost
  readonly params: Parameters<Params>
  readonly columns: Columns<Row>
  /** The columns that the rows are in order of, ascending; together they tell any two rows apart, and none is null. */
  readonly order: readonly (keyof Row & string)[]
  /** Longest range from `since` to `until`, days. Absent: the query has no range. */
  readonly maxDays?: number
  /** Whether the range is of whole days (UTC): those that the given range touches. @defaultValue false */
  readonly wholeDays?: boolean
  /**
   * Columns whose text the producer may have encrypted, by the column of the SQL, which is in no row, that says where the text is
   * from: {@link encryptionOf} the event.
   */
  readonly encrypted?: Readonly<Record<string, readonly (keyof Row & string)[]>>
  /** Values that the SQL takes beside the parameters. */
  readonly constants?: Readonly<Record<string, string>>
  /**
   * A SELECT over tables as `{database:Identifier}.audit_events`, with the parameters under their names: `{since:DateTime64(6)}`,
   * `{agent:Nullable(String)}`. Its columns have the names of `columns`.
   */
  readonly sql: string
}

/** What opens the encrypted texts of an event: its run, number, id and notes; NULL where nothing of it is encrypted. */
export function encryptionOf(table: string): string {
  const parts = [`lower(hex(${table}.run_id))`, `toString(${table}.run_seq)`, `toString(${table}.event_id)`]
  return `if(match(ifNull(${table}.field_notes, ''), '"(encrypted|erased|pseudonym)"'),
    concat(${parts.join(`, ' ', `)}, ' ', ${table}.field_notes), NULL)`
}

/** A range of the time of events, by the producers' clocks. */
export interface Range {
  /** From this time on. @defaultValue 24 hours before `until` */
  readonly since?: Date | undefined
  /** Before this time. @defaultValue now */
  readonly until?: Date | undefined
}

/** A range, of all agents or of one. */
export interface AgentRange extends Range {
  /** Only events of this agent. */
  readonly agent?: string | undefined
}

export const RANGE_PARAMS: Parameters<Range> = {
  since: { kind: 'time', about: 'from this time of the event on', fallback: '24h before until' },
  until: { kind: 'time', about: 'before this time of the event', fallback: 'now' },
}
export const AGENT_RANGE_PARAMS: Parameters<AgentRange> = {
  ...RANGE_PARAMS,
  agent: { kind: 'text', about: 'only events of this agent' },
}

/** Longest range of a query that sums up, and of one that lists events. */
export const MAX_DAYS = { sums: 366, lists: 92 } as const

/** `column` has the value of the optional parameter, or that is not given. The server folds the constant side. */
export function optional(param: string, column: string = `e.${param}_id`): string {
  return `({${param}:Nullable(String)} IS NULL OR ${column} = {${param}:Nullable(String)})`
}

export const SINCE = `{since:DateTime64(6, 'UTC')}`
export const UNTIL = `{until:DateTime64(6, 'UTC')}`
/** The events of the table `e` in the range of `since` and `until`. */
export const IN_RANGE: string = `e.timestamp >= ${SINCE} AND e.timestamp < ${UNTIL}`
/** The events of the days of a query of whole days, written so that the projection `days` has them. */
export const IN_DAYS: string = `toDate(e.timestamp) >= toDate(${SINCE}) AND toDate(e.timestamp) < toDate(${UNTIL})`
/** {@link IN_RANGE}, of the agent of {@link AgentRange}. */
export const IN_AGENT_RANGE: string = `${IN_RANGE} AND ${optional('agent')}`
/** Where a row is in the log: `log_id/partition/offset`. No two rows of the trail have the same. */
export const POSITION = `concat(lower(hex(e.log_id)), '/', toString(e.log_partition), '/', toString(e.log_offset))`
/** The column of {@link POSITION}. */
export const POSITION_COLUMN = { kind: 'text', about: 'Where it is in the log: log_id/partition/offset.' } as const

/** What a query costs, in words. */
export function describeCost(cost: Cost): string {
  if ('projection' in cost) return `reads sums of days from the projection ${cost.projection}, and no event`
  return `reads each event in range ${cost.passes === 1 ? 'once' : `${cost.passes} times`}, found by the index ${cost.index}`
}

/** The table of events, as `e`. */
export const EVENTS = `{database:Identifier}.audit_events AS e`
