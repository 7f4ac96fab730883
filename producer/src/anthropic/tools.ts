/** Runs the tools of an agent through the guard. */
import type Anthropic from '@anthropic-ai/sdk'
import { TrailError } from '@agent-audit/schemas'
import type { ActionFields } from '@agent-audit/schemas'
import type { AuditSession } from '../api/session.ts'
import type { GuardOptions } from '../api/guard-options.ts'
import { toPartialText } from '../record/json-text.ts'
import { describeThrown } from '../record/thrown.ts'

/** A tool that an agent can call. */
export interface AgentTool extends Pick<ActionFields, 'on_behalf_of' | 'policy'> {
  /** Name for the model; unique among the tools. */
  name: string
  /** Description for the model. */
  description: string
  /** JSON Schema of the input. */
  input_schema: { type: 'object' } & Record<string, unknown>
  /**
   * Runs the tool on a frozen copy of the recorded input. Its result goes to the model: text as it is, any other value as
   * JSON. Its error goes to the model as an error.
   */
  // oxlint-disable-next-line typescript/no-explicit-any -- the model's input has the shape of input_schema, which no type describes
  run(input: any, session: AuditSession): unknown
  /** Recorded with the call; the guard then refuses to run the tool without an approval in `guard`. @defaultValue false */
  requires_approval?: boolean | undefined
  /** Options of the guard: policy, approval, durability. */
  guard?: GuardOptions<unknown> | undefined
}

export interface ToolHost {
  readonly tools: readonly AgentTool[]
  readonly session: AuditSession
}

/**
 * Runs the tools that an answer asks for, side by side, and waits for all of them, even when one fails.
 * @returns Their results, in the order of the requests.
 * @throws AuditUnavailableError `NOT_RECORDED`, ResultNotRecordedError `RESULT_NOT_RECORDED`.
 */
export async function runTools(
  content: readonly Anthropic.ContentBlock[],
  host: ToolHost,
): Promise<Anthropic.ToolResultBlockParam[]> {
  const requests = content.flatMap((block) => (block.type === 'tool_use' ? [block] : []))
  const runs = await Promise.allSettled(requests.map((request) => runTool(request, host)))
  return runs.map((run) => {
    if (run.status === 'rejected') throw run.reason
    return run.value
  })
}

async function runTool(
  { id, name, input }: Anthropic.ToolUseBlock,
  { tools, session }: ToolHost,
): Promise<Anthropic.ToolResultBlockParam> {
  const call = { tool_call_id: id, tool_name: name, tool_input: input }
  const tool = tools.find((each) => each.name === name)
  if (tool === undefined) {
    session.toolCall({ ...call, outcome: 'error', reason: 'no such tool' })
    return resultOf(id, `no tool is called ${name}`, true)
  }
  const { requires_approval, on_behalf_of, policy } = tool
  const guarded = { ...call, requires_approval, on_behalf_of, policy }
  try {
    const value = await session.guard(guarded, (given) => tool.run(given, session), tool.guard)
    return resultOf(id, asText(value), false)
  } catch (error) {
    // The trail cannot record: the agent must not go on unrecorded, nor the model repeat what has run.
    if (error instanceof TrailError && (error.retryable || error.code === 'RESULT_NOT_RECORDED')) throw error
    return resultOf(id, describeThrown(error).message, true)
  }
}

function resultOf(id: string, content: string, isError: boolean): Anthropic.ToolResultBlockParam {
  return { type: 'tool_result', tool_use_id: id, content, is_error: isError }
}

/** What the model reads: JSON, as far as it holds the value. @throws TypeError when it holds nothing of it, or it is too large. */
function asText(value: unknown): string {
  if (typeof value === 'string') return value
  const { text, issues } = toPartialText(value, '')
  if (text === undefined && issues[0] !== undefined) throw new TypeError(issues[0].expected)
  return text ?? ''
}
