/** An agent's loop on the Anthropic SDK: the model is asked, its tools are run through the guard, all of it is recorded. */
import type Anthropic from '@anthropic-ai/sdk'
import type { AuditTrail } from '../api/audit-trail.ts'
import type { AuditSession } from '../api/session.ts'
import { checkAgentOptions } from './agent-options.ts'
import { askModel, textOf } from './model-call.ts'
import { runTools } from './tools.ts'
import type { AgentTool } from './tools.ts'

/** An agent: its model, its words, its tools. */
export interface AuditedAgentOptions {
  /** Where the session is recorded. It stays open. */
  trail: AuditTrail
  /** The caller's own client, with its key, base URL, retries and time limits. */
  client: Anthropic
  /** Id of the model, such as `claude-opus-4-6`. */
  model: string
  /** The system prompt; recorded once a run, stamped as a digest on every event of the session. Empty: none. */
  system: string
  /** What the person says. */
  message: string
  /** What the model may call; names differ. Empty: nothing. */
  tools: readonly AgentTool[]
  /** Most calls of the model, 1 or more; then the session times out. @defaultValue 10 */
  maxIterations?: number | undefined
  /** Most tokens of one answer, 1 or more. @defaultValue 4096 */
  maxTokens?: number | undefined
  /** On whose behalf. */
  user_id?: string | undefined
  /** Ends the loop: a request to the model is broken off, tools that run are waited for. */
  signal?: AbortSignal | undefined
  /** Given the text as it arrives: the answers are streamed. What it throws ends the loop. */
  onText?: ((delta: string) => void) | undefined
}

/** How an agent's loop ended. */
export interface AgentResult {
  /** The text of the last answer; empty when there was none. */
  readonly output: string
  /** Where the trail has it. */
  readonly session_id: string
  /** Why the loop ended. All but 'end_turn' are recorded as the reason of the session's end. */
  readonly stop: 'end_turn' | 'max_tokens' | 'max_iterations' | 'refusal' | 'aborted'
  /** Answers of the model. */
  readonly steps: number
}

/**
 * Runs an agent to its end: session_start, an llm_call for every answer of the model with its tokens and time, every tool
 * through `session.guard`, session_end or session_timeout. Tools that the model asks for together run side by side; what a
 * tool throws, and a refusal by the guard, goes back to the model. The session is current within the tools.
 * @throws InvalidInputError `OPTIONS_INVALID` naming every wrong option; nothing is recorded then.
 * @throws AuditUnavailableError `NOT_RECORDED` when a tool was not run because its call could not be recorded.
 * @throws What the SDK throws. Either way an error and a session_end are recorded before.
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
    // The very objects go on: the session knows by them what it has recorded.
    messages.push({ role: 'assistant', content: answer.content })
    switch (answer.stop_reason) {
      case 'tool_use':
        messages.push({ role: 'user', content: await runTools(answer.content, { tools, session }) })
        break
      case 'pause_turn':
        break // The model goes on where it stopped.
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

/** The failure must reach the caller: a trail that was closed meanwhile does not replace it. */
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
