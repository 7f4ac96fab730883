/** Recorded agents on the Anthropic SDK. */
export { type AgentResult, runAuditedAgent } from './agent-loop.ts'
export type { AuditedAgentOptions } from './agent-options.ts'
export type { AgentTool } from './tools.ts'
