/** Agents on the Anthropic SDK, recorded. */
export { type AgentResult, type AuditedAgentOptions, runAuditedAgent } from './agent-loop.ts'
export type { AgentTool } from './tools.ts'
