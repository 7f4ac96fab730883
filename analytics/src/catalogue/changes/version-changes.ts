/** Changes of an agent's prompt, model and version. */
import {
  AGENT_RANGE_PARAMS,
  type AgentRange,
  EVENTS,
  IN_AGENT_RANGE,
  MAX_DAYS,
  type NamedQuery,
  POSITION,
} from '../query.ts'

export interface VersionChangesRow {
  readonly timestamp: string
  readonly agent_id: string
  readonly changed: string
  readonly without_version: boolean
  readonly version_before: string | null
  readonly version: string | null
  readonly model_before: string | null
  readonly model: string | null
  readonly prompt_before: string | null
  readonly prompt: string | null
  readonly session_id: string
  readonly event_id: string
  readonly position: string
}

/** A tuple: the value before may be null, which differs from no value before. */
const before = (column: string): string =>
  `lagInFrame(tuple(${column})) OVER (PARTITION BY agent_id ORDER BY timestamp, run_seq, position ROWS BETWEEN 1 PRECEDING AND CURRENT ROW).1`
const differs = (one: string, other: string): string => `${one} IS DISTINCT FROM ${other}`

export const versionChanges: NamedQuery<AgentRange, VersionChangesRow> = {
  name: 'version-changes',
  answers:
    'When did the prompt, the model or the version of an agent change, and did the prompt or model change without the version?',
  reads:
    'session_start events in the range: each is compared with the one before it of the same agent in the range, so the first one shows no change. While two versions run at the same time, each switch between them is a change.',
  cost: { index: 'by_time', passes: 1, note: 'Sorts the starts of sessions of the range in memory: some 0.4 KB each.' },
  params: AGENT_RANGE_PARAMS,
  columns: {
    timestamp: { kind: 'time', about: 'Start of the first session with it.' },
    agent_id: { kind: 'text', about: 'The agent.' },
    changed: { kind: 'text', about: 'What changed: version, model, prompt, joined by +.' },
    without_version: { kind: 'boolean', about: 'Whether prompt or model changed and the version did not.' },
    version_before: { kind: 'text', nullable: true, about: 'agent_version before.' },
    version: { kind: 'text', nullable: true, about: 'agent_version.' },
    model_before: { kind: 'text', nullable: true, about: 'model_id before.' },
    model: { kind: 'text', nullable: true, about: 'model_id of the session.' },
    prompt_before: { kind: 'text', nullable: true, about: 'SHA-256 of the system prompt before, hex.' },
    prompt: { kind: 'text', nullable: true, about: 'SHA-256 of the system prompt, hex.' },
    session_id: { kind: 'text', about: 'The session.' },
    event_id: { kind: 'text', about: 'Its session_start.' },
    position: { kind: 'text', about: 'Where that is in the log: log_id/partition/offset.' },
  },
  order: ['timestamp', 'position'],
  maxDays: MAX_DAYS.lists,
  sql: `
    SELECT * EXCEPT (run_seq, place),
      arrayStringConcat(arrayFilter(each -> each != '', [if(${differs('version_before', 'version')}, 'version', ''),
        if(${differs('model_before', 'model')}, 'model', ''), if(${differs('prompt_before', 'prompt')}, 'prompt', '')]), '+') AS changed,
      NOT (${differs('version_before', 'version')}) AS without_version
    FROM (
      SELECT *, ${before('version')} AS version_before, ${before('model')} AS model_before, ${before('prompt')} AS prompt_before,
        row_number() OVER (PARTITION BY agent_id ORDER BY timestamp, run_seq, position) AS place
      FROM (
        SELECT e.timestamp AS timestamp, e.run_seq AS run_seq, e.agent_id AS agent_id, e.agent_version AS version,
          e.model_id AS model, lower(hex(e.system_prompt_hash)) AS prompt, e.session_id AS session_id, e.event_id AS event_id,
          ${POSITION} AS position
        FROM ${EVENTS}
        WHERE ${IN_AGENT_RANGE} AND e.event_type = 'session_start'))
    WHERE place > 1 AND changed != ''`,
}
