/** Reads findings with their states: one row a finding. */
import { type Analytics, isoText, withoutQuarantined } from '@agent-audit/analytics'
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

/** Where a finding stands among all: findings are in order of the time they were found at, then of their ids. */
export type FindingPlace = Pick<StoredFinding, 'found_at' | 'finding_id'>

export interface FindingsOptions {
  readonly agent?: string | undefined
  readonly detector?: string | undefined
  /** This one or a graver one. */
  readonly severity?: Severity | undefined
  readonly state?: FindingState | undefined
  /** Not in this state. */
  readonly notState?: FindingState | undefined
  /** Found from this time on. */
  readonly since?: Date | undefined
  readonly session?: string | undefined
  /** Only these. */
  readonly ids?: readonly string[] | undefined
  /** Only those that no alert to this target is recorded of. */
  readonly notSentTo?: string | undefined
  /** The earliest findings behind this place, in their order. @defaultValue the latest ones, the latest first */
  readonly after?: FindingPlace | undefined
  /** Most findings to return. @defaultValue 50 */
  readonly limit?: number | undefined
}

/** Before every finding. */
export const FIRST_PLACE: FindingPlace = { found_at: '1970-01-01T00:00:00.000000Z', finding_id: '' }
const LIMIT = 50
const STATE_OF = `multiIf(${Object.entries(STATES)
  .map(([type, state]) => `o.decision = '${type}', '${state}'`)
  .join(', ')}, s.until > f.found_at, 'suppressed', 'open')`
const DECIDED = `o.decision != '' OR s.until > f.found_at`
const PLACE = `(f.found_at, toString(f.finding_id))`

/** Finds stored findings. @throws TrailError as {@link Analytics.rows}. */
export async function findings(connection: Analytics, options: FindingsOptions = {}): Promise<StoredFinding[]> {
  const { from, params } = selected(options)
  const { analytics } = await withoutQuarantined(connection)
  const order = options.after === undefined ? 'f.found_at DESC, toString(f.finding_id)' : PLACE
  const rows = await analytics.rows<FindingRow>(
    `SELECT toString(f.finding_id) AS finding_id, f.detector AS detector, f.version AS version, f.cause AS cause,
       f.severity AS severity, f.score AS score, f.agent_id AS agent_id, f.session_id AS session_id, f.summary AS summary,
       f.signals AS signals, arrayMap(id -> toString(id), f.evidence) AS evidence, f.thresholds AS thresholds,
       toString(f.run) AS run, ${isoText('f.found_at')} AS found_at, ${STATE_OF} AS state,
       if(${DECIDED}, toNullable(if(o.decision != '', o.by, s.by)), NULL) AS decided_by,
       if(${DECIDED}, toNullable(if(o.decision != '', o.why, s.why)), NULL) AS decision_reason,
       if(${DECIDED}, toNullable(${isoText(`if(o.decision != '', o.decided_at, s.decided_at)`)}), NULL) AS decided_at
     ${from} ORDER BY ${order} LIMIT {limit:UInt32}`,
    { ...params, limit: options.limit ?? LIMIT },
  )
  return rows.map((row) => ({
    ...row,
    signals: JSON.parse(row.signals) as Signal[],
    thresholds: JSON.parse(row.thresholds) as Record<string, number>,
  }))
}

/** How many there are. @throws TrailError as {@link Analytics.rows}. */
export async function countFindings(connection: Analytics, options: FindingsOptions): Promise<number> {
  const { from, params } = selected(options)
  const { analytics } = await withoutQuarantined(connection)
  const [row] = await analytics.rows<{ count: number | string }>(`SELECT count() AS count ${from}`, params)
  return Number(row?.count ?? 0)
}

/** The detectors that have ever run on the trail, or found something in it, by name. @throws TrailError as {@link Analytics.rows}. */
export async function detectorsOf(analytics: Analytics): Promise<string[]> {
  const rows = await analytics.rows<{ detector: string }>(
    `SELECT DISTINCT detector FROM (
       SELECT detector FROM {database:Identifier}.audit_detector_cursors
       UNION ALL SELECT detector FROM {database:Identifier}.audit_findings) ORDER BY detector`,
  )
  return rows.map(({ detector }) => detector)
}

/** The rows of the options, one a finding, as `f` with the decisions `o` and `s`. */
function selected(options: FindingsOptions): { from: string; params: Record<string, unknown> } {
  const { agent, detector, severity, state, notState, since, session, ids, notSentTo, after } = options
  const conditions = [
    ...(agent === undefined ? [] : ['agent_id = {agent:String}']),
    ...(detector === undefined ? [] : ['detector = {detector:String}']),
    ...(severity === undefined ? [] : ['severity IN {severities:Array(String)}']),
    ...(since === undefined ? [] : ['found_at >= fromUnixTimestamp64Milli({sinceMs:Int64})']),
    ...(session === undefined ? [] : ['session_id = {session:String}']),
    ...(ids === undefined ? [] : ['finding_id IN {ids:Array(UUID)}']),
    ...(notSentTo === undefined
      ? []
      : [
          `finding_id NOT IN (SELECT finding_id FROM {database:Identifier}.audit_alerts WHERE target = {notSentTo:String})`,
        ]),
  ]
  const ofAll = [
    ...(state === undefined ? [] : [`${STATE_OF} = {state:String}`]),
    ...(notState === undefined ? [] : [`${STATE_OF} != {notState:String}`]),
    ...(after === undefined
      ? []
      : [`${PLACE} > (parseDateTime64BestEffort({afterTime:String}, 6, 'UTC'), {afterId:String})`]),
  ]
  const from = `
     FROM (
       SELECT * FROM {database:Identifier}.audit_findings WHERE ${allOf(conditions)}
       ORDER BY found_at, run LIMIT 1 BY finding_id) AS f
     LEFT JOIN (${OWN_DECISIONS}) AS o ON o.finding = toString(f.finding_id)
     LEFT JOIN (${SUPPRESSIONS}) AS s ON s.of_detector = f.detector AND s.of_agent = f.agent_id
     WHERE ${allOf(ofAll)}`
  const severities = severity === undefined ? undefined : SEVERITIES.slice(SEVERITIES.indexOf(severity))
  const place = { afterTime: after?.found_at, afterId: after?.finding_id }
  return {
    from,
    params: {
      agent,
      detector,
      severities,
      sinceMs: since?.getTime(),
      session,
      ids,
      notSentTo,
      state,
      notState,
      ...place,
    },
  }
}

function allOf(conditions: readonly string[]): string {
  return conditions.length === 0 ? 'true' : conditions.join(' AND ')
}

type FindingRow = Omit<StoredFinding, 'signals' | 'thresholds'> & {
  readonly signals: string
  readonly thresholds: string
}
