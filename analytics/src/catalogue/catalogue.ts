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

export interface Catalogue {
  readonly 'session-trail': NamedQuery<SessionTrailParams, SessionTrailRow>
  readonly 'sub-agents': NamedQuery<SubAgentsParams, SubAgentsRow>
  readonly 'agent-activity': NamedQuery<AgentRange, AgentActivityRow>
  readonly 'tool-activity': NamedQuery<ToolActivityParams, ToolActivityRow>
  readonly 'error-rates': NamedQuery<ErrorRatesParams, ErrorRatesRow>
  readonly latency: NamedQuery<AgentRange, LatencyRow>
  readonly tokens: NamedQuery<TokensParams, TokensRow>
  readonly approvals: NamedQuery<ApprovalsParams, ApprovalsRow>
  readonly 'not-taken': NamedQuery<AgentRange, NotTakenRow>
  readonly 'near-misses': NamedQuery<AgentRange, NearMissesRow>
  readonly 'version-changes': NamedQuery<AgentRange, VersionChangesRow>
  readonly 'data-touched': NamedQuery<DataTouchedParams, DataTouchedRow>
  readonly runs: NamedQuery<Range, RunsRow>
  readonly losses: NamedQuery<Range, LossesRow>
}

export type QueryName = keyof Catalogue

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
