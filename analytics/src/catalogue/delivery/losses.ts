/** Events that producers reported as lost. */
import {
  EVENTS,
  IN_RANGE,
  MAX_DAYS,
  type NamedQuery,
  POSITION,
  POSITION_COLUMN,
  type Range,
  RANGE_PARAMS,
} from '../query.ts'

export interface LossesRow {
  readonly timestamp: string
  readonly producer_id: string
  readonly run_id: string
  readonly of_run_id: string
  readonly first_run_seq: number | bigint | null
  readonly last_run_seq: number | bigint | null
  readonly events: number | bigint | null
  readonly reason: string | null
  readonly set_aside: string | null
  readonly event_id: string
  readonly position: string
}

export const losses: NamedQuery<Range, LossesRow> = {
  name: 'losses',
  answers: 'Which events did producers refuse or lose, and why?',
  reads:
    'events_lost events in the range. A gap that no such event explains is not here: `agent-audit verify --completeness` finds it.',
  cost: { index: 'by_time', passes: 1 },
  params: RANGE_PARAMS,
  columns: {
    timestamp: { kind: 'time', about: 'When the loss was reported.' },
    producer_id: { kind: 'text', about: 'The producer that reported it.' },
    run_id: { kind: 'text', about: 'Its run, 32 hex digits.' },
    of_run_id: { kind: 'text', about: 'The run that lost the events: another one where its spool was damaged.' },
    first_run_seq: { kind: 'integer', nullable: true, about: 'Lowest lost number; null where it is not known.' },
    last_run_seq: { kind: 'integer', nullable: true, about: 'Highest lost number; null where it is not known.' },
    events: { kind: 'integer', nullable: true, wide: true, about: 'How many; null where that is not known.' },
    reason: { kind: 'text', nullable: true, about: 'Why.' },
    set_aside: { kind: 'text', nullable: true, about: 'The file that holds them, of a damaged spool.' },
    event_id: { kind: 'text', about: 'The events_lost event.' },
    position: POSITION_COLUMN,
  },
  order: ['timestamp', 'position'],
  maxDays: MAX_DAYS.sums,
  sql: `
    SELECT e.timestamp AS timestamp, e.producer_id AS producer_id, lower(hex(e.run_id)) AS run_id,
      ifNull(JSONExtract(e.content, 'run_id', 'Nullable(String)'), run_id) AS of_run_id,
      JSONExtract(e.content, 'first_run_seq', 'Nullable(Int64)') AS first_run_seq,
      JSONExtract(e.content, 'last_run_seq', 'Nullable(Int64)') AS last_run_seq,
      toInt128(last_run_seq) - first_run_seq + 1 AS events, e.reason AS reason,
      JSONExtract(e.content, 'set_aside', 'Nullable(String)') AS set_aside, e.event_id AS event_id, ${POSITION} AS position
    FROM ${EVENTS}
    WHERE ${IN_RANGE} AND e.event_type = 'events_lost'`,
}
