/** An agent's loop on the Anthropic SDK: it asks the model, runs the tools through the guard, and records both. */
import type Anthropic from '@anthropic-ai/sdk'
import type { AuditSession } from '../api/session.ts'
import { checkAgentOptions } from './agent-options.ts'
import type { AuditedAgentOptions } from './agent-options.ts'
import { askModel, textOf } from './model-call.ts'
import { runTools } from './tools.ts'

/** How an agent's loop ended. */
export interface AgentResult {
  /** Text of the last answer; empty if the model gave none. */
  readonly output: string
  /** Session that holds the record. */
  readonly session_id: string
  /** Why the loop ended. All values but 'end_turn' are recorded as the reason of the session's end. */
  readonly stop: 'end_turn' | 'max_tokens' | 'max_iterations' | 'refusal' | 'aborted'
  /** Number of answers from the model. */
  readonly steps: number
}

/**
 * Runs an agent to its end. It records a session_start, an llm_call with tokens and time for each answer of the model, and a
 * session_end or session_timeout, and it runs each tool through `session.guard`. Tools that the model asks for together run
 * side by side; an error from a tool, or a refusal by the guard, goes back to the model. The session is current within the
 * tools.
 * @throws InvalidInputError `OPTIONS_INVALID` naming every wrong option; then nothing is recorded.
 * @throws AuditUnavailableError `NOT_RECORDED` when a tool was not run because its call could not be recorded.
 * @throws ResultNotRecordedError where a tool's guard says so (`onResultUnavailable: 'throw'`).
 * @throws Errors of the SDK. In this case and the two before, an error and a session_end are recorded first.
 */
export async function runAuditedAgent(options: AuditedAgentOptions): Promise<AgentResult> {
  const { trail, model, system, message, tools, user_id } = checkAgentOptions(options)
  const session = trail.startSession({
    user_id,
    user_message: message,
    model_id: model,
    system_prompt: system,
    tools_available: tools.map(({ name }) => name),
  })
  const loop: Loop = { options, session, output: '', steps: 0 }
  try {
    const stop = await session.run(() => converse(loop))
    finish(loop, stop)
    return resultOf(loop, stop)
  } catch (error) {
    if (options.signal?.aborted === true) {
      finish(loop, 'aborted')
      return resultOf(loop, 'aborted')
    }
    recordFailure(session, error)
    throw error
  }
}

interface Loop {
  readonly options: AuditedAgentOptions
  readonly session: AuditSession
  output: string
  steps: number
}

async function converse(loop: Loop): Promise<AgentResult['stop']> {
  const { options, session } = loop
  const { tools, maxIterations = 10, signal } = options
  const messages: Anthropic.MessageParam[] = [{ role: 'user', content: options.message }]
  while (loop.steps < maxIterations) {
    signal?.throwIfAborted()
    const answer = await askModel(options, session, messages)
    loop.steps++
    loop.output = textOf(answer.content)
    // The same objects are sent again: the session recognises by identity the messages it has recorded.
    messages.push({ role: 'assistant', content: answer.content })
    switch (answer.stop_reason) {
      case 'tool_use':
        messages.push({ role: 'user', content: await runTools(answer.content, { tools, session }) })
        break
      case 'pause_turn':
        break // The next request lets the model continue its turn.
      case 'max_tokens':
      case 'model_context_window_exceeded':
        return 'max_tokens'
      case 'refusal':
        return 'refusal'
      default:
        return 'end_turn'
    }
  }
  return 'max_iterations'
}

function finish({ session, output }: Loop, stop: AgentResult['stop']): void {
  const output_text = output === '' ? null : output
  if (stop === 'max_iterations') session.timeout({ reason: 'max_iterations_reached', output_text })
  else if (stop === 'end_turn') session.end({ output_text })
  else session.end({ output_text, outcome: stop === 'refusal' ? 'blocked' : 'error', reason: stop })
}

/** Records a failure. The error of a trail that was closed meanwhile is dropped: the caller must get the first failure. */
function recordFailure(session: AuditSession, error: unknown): void {
  try {
    session.error(error)
    session.end({ outcome: 'error' })
  } catch {
    // TRAIL_CLOSED.
  }
}

function resultOf({ session, output, steps }: Loop, stop: AgentResult['stop']): AgentResult {
  return { output, session_id: session.session_id, stop, steps }
}
