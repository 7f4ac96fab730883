/** Reads findings with their states: one row a finding. */
import { type Analytics, withoutQuarantined } from '@agent-audit/analytics'
import { SEVERITIES, type Severity, type Signal } from '../detector.ts'
import { type FindingState, OWN_DECISIONS, STATES, SUPPRESSIONS } from './decisions.ts'

/** A finding as it is stored, with what people decided about it. */
export interface StoredFinding {
  readonly finding_id: string
  readonly detector: string
  readonly version: number
  readonly cause: string
  readonly severity: Severity
  readonly score: number
  readonly agent_id: string
  readonly session_id: string | null
  readonly summary: string
  readonly signals: readonly Signal[]
  readonly evidence: readonly string[]
  readonly thresholds: Readonly<Record<string, number>>
  /** The worker that found it. */
  readonly run: string
  /** By the server's clock, `2026-11-24T10:00:00.123456Z`. */
  readonly found_at: string
  readonly state: FindingState
  /** The person who decided, why and when; null while it is open. */
  readonly decided_by: string | null
  readonly decision_reason: string | null
  readonly decided_at: string | null
}

export interface FindingsOptions {
  readonly agent?: string | undefined
  readonly detector?: string | undefined
  /** This one or a graver one. */
  readonly severity?: Severity | undefined
  readonly state?: FindingState | undefined
  /** Found from this time on. */
  readonly since?: Date | undefined
  readonly session?: string | undefined
  /** Only this one. */
  readonly id?: string | undefined
  /** Only those that no alert to this target is recorded of. */
  readonly notSentTo?: string | undefined
  /** Most findings to return, the latest ones. @defaultValue 50 */
  readonly limit?: number | undefined
}

const LIMIT = 50
const time = (expression: string): string => `concat(replaceOne(toString(${expression}, 'UTC'), ' ', 'T'), 'Z')`
const STATE_OF = `multiIf(${Object.entries(STATES)
  .map(([type, state]) => `o.decision = '${type}', '${state}'`)
  .join(', ')}, s.until > f.found_at, 'suppressed', 'open')`
const DECIDED = `o.decision != '' OR s.until > f.found_at`

/** Finds stored findings, the latest first. @throws TrailError as {@link Analytics.rows}. */
export async function findings(connection: Analytics, options: FindingsOptions = {}): Promise<StoredFinding[]> {
  const { analytics } = await withoutQuarantined(connection)
  const { agent, detector, severity, state, since, session, id, notSentTo, limit = LIMIT } = options
  const conditions = [
    ...(agent === undefined ? [] : ['agent_id = {agent:String}']),
    ...(detector === undefined ? [] : ['detector = {detector:String}']),
    ...(severity === undefined ? [] : ['severity IN {severities:Array(String)}']),
    ...(since === undefined ? [] : ['found_at >= fromUnixTimestamp64Milli({sinceMs:Int64})']),
    ...(session === undefined ? [] : ['session_id = {session:String}']),
    ...(id === undefined ? [] : ['finding_id = {id:UUID}']),
    ...(notSentTo === undefined
      ? []
      : [
          `finding_id NOT IN (SELECT finding_id FROM {database:Identifier}.audit_alerts WHERE target = {notSentTo:String})`,
        ]),
  ]
  const where = conditions.length === 0 ? 'true' : conditions.join(' AND ')
  const rows = await analytics.rows<FindingRow>(
    `SELECT toString(f.finding_id) AS finding_id, f.detector AS detector, f.version AS version, f.cause AS cause,
       f.severity AS severity, f.score AS score, f.agent_id AS agent_id, f.session_id AS session_id, f.summary AS summary,
       f.signals AS signals, arrayMap(id -> toString(id), f.evidence) AS evidence, f.thresholds AS thresholds,
       toString(f.run) AS run, ${time('f.found_at')} AS found_at, ${STATE_OF} AS state,
       if(${DECIDED}, toNullable(if(o.decision != '', o.by, s.by)), NULL) AS decided_by,
       if(${DECIDED}, toNullable(if(o.decision != '', o.why, s.why)), NULL) AS decision_reason,
       if(${DECIDED}, toNullable(${time(`if(o.decision != '', o.decided_at, s.decided_at)`)}), NULL) AS decided_at
     FROM (
       SELECT * FROM {database:Identifier}.audit_findings WHERE ${where} ORDER BY found_at, run LIMIT 1 BY finding_id) AS f
     LEFT JOIN (${OWN_DECISIONS}) AS o ON o.finding = toString(f.finding_id)
     LEFT JOIN (${SUPPRESSIONS}) AS s ON s.of_detector = f.detector AND s.of_agent = f.agent_id
     WHERE ${state === undefined ? 'true' : `${STATE_OF} = {state:String}`}
     ORDER BY f.found_at DESC, finding_id LIMIT {limit:UInt32}`,
    {
      agent,
      detector,
      severities: severity === undefined ? undefined : SEVERITIES.slice(SEVERITIES.indexOf(severity)),
      sinceMs: since?.getTime(),
      session,
      id,
      notSentTo,
      state,
      limit,
    },
  )
  return rows.map((row) => ({
    ...row,
    signals: JSON.parse(row.signals) as Signal[],
    thresholds: JSON.parse(row.thresholds) as Record<string, number>,
  }))
}

type FindingRow = Omit<StoredFinding, 'signals' | 'thresholds'> & {
  readonly signals: string
  readonly thresholds: string
}
