/** One call of the model, recorded whether it succeeds or fails. */
import type Anthropic from '@anthropic-ai/sdk'
import type { LlmCall } from '@agent-audit/schemas'
import type { AuditSession } from '../api/session.ts'
import type { AuditedAgentOptions } from './agent-options.ts'

const DEFAULT_MAX_TOKENS = 4096

/** Asks the model for the next answer. @throws Errors of the SDK, after recording the failed call. */
export async function askModel(
  options: AuditedAgentOptions,
  session: AuditSession,
  messages: readonly Anthropic.MessageParam[],
): Promise<Anthropic.Message> {
  const { model, system, maxTokens: max_tokens = DEFAULT_MAX_TOKENS, onText } = options
  const request = {
    model,
    max_tokens,
    messages: [...messages],
    ...(system === '' ? {} : { system }),
    ...(options.tools.length === 0 ? {} : { tools: options.tools.map(toolParam) }),
  }
  const call = {
    input_messages: messages,
    provider: 'anthropic',
    content: { request: { max_tokens, stream: onText !== undefined } },
  }
  const startMs = performance.now()
  let arrived = ''
  const receive = (delta: string): void => {
    arrived += delta
    onText?.(delta)
  }
  let answer: Anthropic.Message
  try {
    answer = await send(options, request, onText === undefined ? undefined : receive)
  } catch (error) {
    const output_text = arrived === '' ? null : arrived
    session.llmCall({ ...call, output_text, error, model_id: model, latency_ms: performance.now() - startMs })
    throw error
  }
  session.llmCall({ ...call, ...describeAnswer(answer), latency_ms: performance.now() - startMs })
  return answer
}

async function send(
  { client, signal }: AuditedAgentOptions,
  request: Anthropic.MessageCreateParamsNonStreaming,
  onText: ((delta: string) => void) | undefined,
): Promise<Anthropic.Message> {
  const requestOptions = signal === undefined ? {} : { signal }
  if (onText === undefined) return client.messages.create(request, requestOptions)
  return client.messages.stream(request, requestOptions).on('text', onText).finalMessage()
}

function toolParam({ name, description, input_schema }: AuditedAgentOptions['tools'][number]): Anthropic.Tool {
  return { name, description, input_schema }
}

/** Tokens as OpenTelemetry counts them: tokens read from or written to the cache are input tokens too. */
function describeAnswer({ content, model, stop_reason, usage }: Anthropic.Message): Omit<LlmCall, 'input_messages'> {
  const cache_read_tokens = usage.cache_read_input_tokens
  const cache_write_tokens = usage.cache_creation_input_tokens
  const text = textOf(content)
  const reasoning = content.map((block) => (block.type === 'thinking' ? block.thinking : '')).join('')
  const calls = content.flatMap((block) => (block.type === 'tool_use' ? [block] : []))
  return {
    model_id: model,
    stop_reason,
    output_text: text === '' ? null : text,
    reasoning: reasoning === '' ? null : reasoning,
    tool_calls_requested: calls.length === 0 ? undefined : calls.map(({ id, name, input }) => ({ id, name, input })),
    input_tokens: usage.input_tokens + (cache_read_tokens ?? 0) + (cache_write_tokens ?? 0),
    output_tokens: usage.output_tokens,
    cache_read_tokens,
    cache_write_tokens,
  }
}

/** All text of an answer. */
export function textOf(content: readonly Anthropic.ContentBlock[]): string {
  return content.map((block) => (block.type === 'text' ? block.text : '')).join('')
}
