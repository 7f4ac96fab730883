/** Options of an agent, checked once: an error names every wrong option. */
import { describeIssues, InvalidInputError } from '@agent-audit/schemas'
import type { Issue } from '@agent-audit/schemas'
import type Anthropic from '@anthropic-ai/sdk'
import { z } from 'zod'
import type { AuditTrail } from '../api/audit-trail.ts'
import { findGuardIssues } from '../options/call-options.ts'
import type { AgentTool } from './tools.ts'

/** An agent: its model, its prompts, its tools. */
export interface AuditedAgentOptions {
  /** Trail that records the session. It stays open. */
  trail: AuditTrail
  /** The caller's own client, with its key, base URL, retries and time limits. */
  client: Anthropic
  /** Id of the model, such as `claude-opus-4-6`. */
  model: string
  /** System prompt; recorded once a run, and stamped as a digest on every event of the session. Empty: none. */
  system: string
  /** First message of the user. */
  message: string
  /** Tools that the model may call; their names differ. Empty: none. */
  tools: readonly AgentTool[]
  /** Most calls of the model, at least 1; the session times out after them. @defaultValue 10 */
  maxIterations?: number | undefined
  /** Most tokens of one answer, at least 1. @defaultValue 4096 */
  maxTokens?: number | undefined
  /** The person the agent acts for. */
  user_id?: string | undefined
  /** Ends the loop: a request to the model is aborted; the loop waits for tools that run. */
  signal?: AbortSignal | undefined
  /** Receives the text as it arrives; the answers are then streamed. An error it throws ends the loop. */
  onText?: ((delta: string) => void) | undefined
}

const aFunction = z.custom((value) => typeof value === 'function', 'expected a function')
const count = z.int().min(1).optional()

const tool = z.strictObject({
  name: z.string().min(1),
  description: z.string(),
  input_schema: z.looseObject({ type: z.literal('object') }),
  run: aFunction,
  on_behalf_of: z.string().nullish(),
  policy: z.looseObject({}).nullish(),
  requires_approval: z.boolean().optional(),
  guard: z.looseObject({}).optional(),
})

const schema = z.strictObject({
  trail: z.custom((value) => has(value, 'startSession'), 'expected an audit trail'),
  client: z.custom((value) => has(value, 'messages'), 'expected a client of @anthropic-ai/sdk'),
  model: z.string().min(1),
  system: z.string(),
  message: z.string().min(1),
  tools: z
    .array(tool)
    .refine((tools) => new Set(tools.map(({ name }) => name)).size === tools.length, 'expected names that differ'),
  maxIterations: count,
  maxTokens: count,
  user_id: z.string().optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onText: aFunction.optional(),
})

/** @throws InvalidInputError `OPTIONS_INVALID`. */
export function checkAgentOptions(options: AuditedAgentOptions): AuditedAgentOptions {
  const result = schema.safeParse(options)
  const issues = result.success ? options.tools.flatMap(findToolIssues) : describeIssues(result.error.issues, schema)
  if (issues.length === 0) return options
  const listed = issues.map(({ path, expected }) => `${path}: ${expected}`).join('; ')
  throw new InvalidInputError('OPTIONS_INVALID', `options of the agent: ${listed}`, { issues })
}

/** A guard's options are checked at its calls too; here the agent's developer sees the error, there the model would. */
function findToolIssues({ guard = {} }: AgentTool, index: number): Issue[] {
  return findGuardIssues(guard).map(({ path, expected }) => ({ path: `tools[${index}].guard.${path}`, expected }))
}

function has(value: unknown, name: string): boolean {
  return typeof value === 'object' && value !== null && name in value
}
