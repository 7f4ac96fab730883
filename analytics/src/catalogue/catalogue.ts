/** The catalogue: every query by its name, in the order of the documentation. */
import { type AgentActivityRow, agentActivity } from './activity/agent-activity.ts'
import { errorRates, type ErrorRatesParams, type ErrorRatesRow } from './activity/error-rates.ts'
import { latency, type LatencyRow } from './activity/latency.ts'
import { toolActivity, type ToolActivityParams, type ToolActivityRow } from './activity/tool-activity.ts'
import { versionChanges, type VersionChangesRow } from './changes/version-changes.ts'
import { tokens, type TokensParams, type TokensRow } from './cost/tokens.ts'
import { dataTouched, type DataTouchedParams, type DataTouchedRow } from './data/data-touched.ts'
import { losses, type LossesRow } from './delivery/losses.ts'
import { runs, type RunsRow } from './delivery/runs.ts'
import { approvals, type ApprovalsParams, type ApprovalsRow } from './oversight/approvals.ts'
import { nearMisses, type NearMissesRow } from './oversight/near-misses.ts'
import { notTaken, type NotTakenRow } from './oversight/not-taken.ts'
import type { AgentRange, NamedQuery, Range } from './query.ts'
import { sessionTrail, type SessionTrailParams, type SessionTrailRow } from './sessions/session-trail.ts'
import { subAgents, type SubAgentsParams, type SubAgentsRow } from './sessions/sub-agents.ts'

/** Parameters and row of each query. */
export interface QueryTypes {
  readonly 'session-trail': readonly [SessionTrailParams, SessionTrailRow]
  readonly 'sub-agents': readonly [SubAgentsParams, SubAgentsRow]
  readonly 'agent-activity': readonly [AgentRange, AgentActivityRow]
  readonly 'tool-activity': readonly [ToolActivityParams, ToolActivityRow]
  readonly 'error-rates': readonly [ErrorRatesParams, ErrorRatesRow]
  readonly latency: readonly [AgentRange, LatencyRow]
  readonly tokens: readonly [TokensParams, TokensRow]
  readonly approvals: readonly [ApprovalsParams, ApprovalsRow]
  readonly 'not-taken': readonly [AgentRange, NotTakenRow]
  readonly 'near-misses': readonly [AgentRange, NearMissesRow]
  readonly 'version-changes': readonly [AgentRange, VersionChangesRow]
  readonly 'data-touched': readonly [DataTouchedParams, DataTouchedRow]
  readonly runs: readonly [Range, RunsRow]
  readonly losses: readonly [Range, LossesRow]
}

export type QueryName = keyof QueryTypes
export type ParamsOf<Name extends QueryName> = QueryTypes[Name][0]
export type RowOf<Name extends QueryName> = QueryTypes[Name][1]
export type Catalogue = { readonly [Name in QueryName]: NamedQuery<ParamsOf<Name>, RowOf<Name>> }

export const CATALOGUE: Catalogue = {
  'session-trail': sessionTrail,
  'sub-agents': subAgents,
  'agent-activity': agentActivity,
  'tool-activity': toolActivity,
  'error-rates': errorRates,
  latency,
  tokens,
  approvals,
  'not-taken': notTaken,
  'near-misses': nearMisses,
  'version-changes': versionChanges,
  'data-touched': dataTouched,
  runs,
  losses,
}
