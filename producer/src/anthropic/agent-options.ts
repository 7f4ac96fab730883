/** Options of an agent: checked once, every wrong one named. */
import { describeIssue, InvalidInputError } from '@agent-audit/schemas'
import { z } from 'zod'
import type { AuditedAgentOptions } from './agent-loop.ts'

const aFunction = z.custom((value) => typeof value === 'function', 'expected a function')
const count = z.int().min(1).optional()

const tool = z.object({
  name: z.string().min(1),
  description: z.string(),
  input_schema: z.looseObject({ type: z.literal('object') }),
  run: aFunction,
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
  if (result.success) return options
  const issues = result.error.issues.flatMap(describeIssue)
  const listed = issues.map(({ path, expected }) => `${path}: ${expected}`).join('; ')
  throw new InvalidInputError('OPTIONS_INVALID', `options of the agent: ${listed}`, { issues })
}

function has(value: unknown, name: string): boolean {
  return typeof value === 'object' && value !== null && name in value
}
