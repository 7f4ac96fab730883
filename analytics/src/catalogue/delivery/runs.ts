/** Starts of producers, and which of their numbers are seen. */
import { EVENTS, IN_RANGE, MAX_DAYS, type NamedQuery, type Range, RANGE_PARAMS } from '../query.ts'

export interface RunsRow {
  readonly run_id: string
  readonly producer_id: string
  readonly started: boolean
  readonly stopped: boolean
  readonly first_at: string
  readonly last_at: string
  readonly events: number | bigint
  readonly first_run_seq: number | bigint
  readonly last_run_seq: number | bigint
  readonly not_seen: number | bigint
  readonly reported_lost: number | bigint | null
  readonly agents: number | bigint
  readonly longest_lag_s: number
}

/** A hostile range may be of any size, so it is counted in 128 bits. */
const LOST = `toInt128(JSONExtract(e.content, 'last_run_seq', 'Nullable(Int64)')) - JSONExtract(e.content, 'first_run_seq', 'Nullable(Int64)') + 1`

export const runs: NamedQuery<Range, RunsRow> = {
  name: 'runs',
  answers: 'Which producers ran, did they stop in order, and which numbers between their events are not seen?',
  reads:
    'All events in the range. Numbers before the first and behind the last event in the range do not count; `agent-audit verify --completeness` checks whole runs, and explains each gap.',
  cost: { index: 'by_time', passes: 1, note: 'A bitmap of the numbers of each run in memory, about one bit an event.' },
  params: RANGE_PARAMS,
  columns: {
    first_at: { kind: 'time', about: 'Its first event in the range.' },
    run_id: { kind: 'text', about: 'The run, 32 hex digits.' },
    producer_id: { kind: 'text', about: 'Name of the producer.' },
    started: { kind: 'boolean', about: 'Whether its trail_started is in the range.' },
    stopped: { kind: 'boolean', about: 'Whether its trail_stopped is in the range.' },
    last_at: { kind: 'time', about: 'Its last event in the range.' },
    events: { kind: 'integer', about: 'Events in the range.' },
    first_run_seq: { kind: 'integer', about: 'Lowest number in the range.' },
    last_run_seq: { kind: 'integer', about: 'Highest number in the range.' },
    not_seen: { kind: 'integer', wide: true, about: 'Numbers between those two that no event in the range has.' },
    reported_lost: {
      kind: 'integer',
      nullable: true,
      wide: true,
      about:
        'Events that its events_lost events name as lost; null without any. Of another run too, whose spool it sent.',
    },
    agents: { kind: 'integer', about: 'Different agents.' },
    longest_lag_s: {
      kind: 'number',
      about: 'Longest time from an event to its arrival in the log, seconds; below 0 where clocks differ.',
    },
  },
  order: ['first_at', 'run_id'],
  maxDays: MAX_DAYS.lists,
  sql: `
    SELECT lower(hex(e.run_id)) AS run_id, any(e.producer_id) AS producer_id, countIf(e.event_type = 'trail_started') > 0 AS started,
      countIf(e.event_type = 'trail_stopped') > 0 AS stopped, min(e.timestamp) AS first_at, max(e.timestamp) AS last_at,
      count() AS events, min(e.run_seq) AS first_run_seq, max(e.run_seq) AS last_run_seq,
      toInt128(last_run_seq) - first_run_seq + 1 - groupBitmap(toUInt64(e.run_seq)) AS not_seen,
      sumIf(${LOST}, e.event_type = 'events_lost') AS reported_lost, uniqExact(e.agent_id) AS agents,
      max(toUnixTimestamp64Milli(e.log_time) * 1000 - toUnixTimestamp64Micro(e.timestamp)) / 1000000 AS longest_lag_s
    FROM ${EVENTS}
    WHERE ${IN_RANGE}
    GROUP BY e.run_id`,
}
