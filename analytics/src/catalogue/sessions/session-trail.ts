/** The events of one session, in order. */
import { encryptionOf, EVENTS, type NamedQuery, POSITION, POSITION_COLUMN } from '../query.ts'

export interface SessionTrailParams {
  readonly session: string
}

export interface SessionTrailRow {
  readonly timestamp: string
  readonly run_seq: number | bigint
  readonly step_number: number | bigint
  readonly event_type: string
  readonly agent_id: string
  readonly model_id: string | null
  readonly tool_name: string | null
  readonly outcome: string | null
  readonly reason_code: string | null
  readonly reason: string | null
  readonly approver_id: string | null
  readonly error: string | null
  readonly reasoning: string | null
  readonly tool_input: string | null
  readonly tool_output: string | null
  readonly output_text: string | null
  readonly content: string | null
  readonly event_id: string
  readonly parent_event_id: string | null
  readonly position: string
}

export const sessionTrail: NamedQuery<SessionTrailParams, SessionTrailRow> = {
  name: 'session-trail',
  answers: 'What happened in one session, event by event?',
  reads: 'Every event of the session, over all runs that wrote to it, in order of time, then of the number in the run.',
  cost: { index: 'by_session', passes: 1, note: 'Sorts the events of one session.' },
  params: { session: { kind: 'text', required: true, about: 'session_id' } },
  columns: {
    timestamp: { kind: 'time', about: 'When it happened, by the clock of the producer.' },
    run_seq: { kind: 'integer', about: 'Number in the run of the producer, from 0.' },
    step_number: { kind: 'integer', about: 'Step within the session.' },
    event_type: { kind: 'text', about: 'Kind of event.' },
    agent_id: { kind: 'text', about: 'The agent that acted.' },
    model_id: { kind: 'text', nullable: true, about: 'Model in use.' },
    tool_name: { kind: 'text', nullable: true, about: 'Tool of a call or a result.' },
    outcome: { kind: 'text', nullable: true, about: 'allowed, denied, blocked, error or success.' },
    reason_code: { kind: 'text', nullable: true, about: 'Why it was refused or failed, to group by.' },
    reason: { kind: 'text', nullable: true, about: 'Short cause.' },
    approver_id: { kind: 'text', nullable: true, about: 'The person who decided, stepped in or overrode.' },
    error: { kind: 'text', nullable: true, about: 'Message of the error.' },
    reasoning: { kind: 'text', nullable: true, about: "The agent's reason in its own words: claimed by the model." },
    tool_input: { kind: 'text', nullable: true, about: 'Arguments of the call, canonical JSON.' },
    tool_output: { kind: 'text', nullable: true, about: 'Output of the tool: text, or the JSON of another value.' },
    output_text: { kind: 'text', nullable: true, about: 'Text of the model or the agent.' },
    content: { kind: 'text', nullable: true, about: 'All other data, JSON.' },
    event_id: { kind: 'text', about: 'Id of the event.' },
    parent_event_id: { kind: 'text', nullable: true, about: 'The event that led to it.' },
    position: POSITION_COLUMN,
  },
  order: ['timestamp', 'run_seq', 'position'],
  encrypted: { encryption: ['reason', 'error', 'reasoning', 'tool_input', 'tool_output', 'output_text', 'content'] },
  sql: `
    SELECT e.timestamp AS timestamp, e.run_seq AS run_seq, e.step_number AS step_number, e.event_type AS event_type,
      e.agent_id AS agent_id, e.model_id AS model_id, e.tool_name AS tool_name, e.outcome AS outcome,
      e.reason_code AS reason_code, e.reason AS reason, e.approver_id AS approver_id, e.error AS error,
      e.reasoning AS reasoning, e.tool_input AS tool_input, e.tool_output AS tool_output, e.output_text AS output_text,
      e.content AS content, e.event_id AS event_id, e.parent_event_id AS parent_event_id, ${POSITION} AS position,
      ${encryptionOf('e')} AS encryption
    FROM ${EVENTS}
    WHERE e.session_id = {session:String}`,
}
