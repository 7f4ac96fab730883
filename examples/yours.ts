/** Stands for your own code in the examples: a model, a tool, a bank, the web, a mail server. */

export interface ToolUse {
  type: 'tool_use'
  id: string
  name: string
  input: unknown
}

export interface ToolResult {
  type: 'tool_result'
  tool_use_id: string
  content: string
}

/** In the form of Anthropic's Messages API. */
export type Message =
  | { role: 'user'; content: string | readonly ToolResult[] }
  | { role: 'assistant'; content: string | readonly ToolUse[] }

export interface Reply {
  /** The assistant's message as the next request must contain it. */
  message: Message
  text: string | null
  calls: readonly ToolUse[]
  usage: { input_tokens: number; output_tokens: number }
}

/**
 * A model that first looks the order up, then answers with the result.
 * @throws Error for messages that a real API refuses.
 */
export async function callModel(messages: readonly Message[]): Promise<Reply> {
  checkPairs(messages)
  const found = resultsOf(messages.at(-1))[0]
  const usage = { input_tokens: 20 * messages.length, output_tokens: 5 }
  if (found === undefined) {
    const calls: ToolUse[] = [{ type: 'tool_use', id: 'c1', name: 'find_order', input: { number: 7 } }]
    return { message: { role: 'assistant', content: calls }, text: null, calls, usage }
  }
  const text = `It is ${found.content}.`
  return { message: { role: 'assistant', content: text }, text, calls: [], usage }
}

/** As the real API does: a message of results answers exactly the calls of the assistant message before it. */
function checkPairs(messages: readonly Message[]): void {
  for (const [index, message] of messages.entries()) {
    const asked = usesOf(messages[index - 1]).map(({ id }) => id)
    const answered = resultsOf(message).map(({ tool_use_id }) => tool_use_id)
    const wrong = [...asked.filter((id) => !answered.includes(id)), ...answered.filter((id) => !asked.includes(id))]
    if (wrong.length > 0)
      throw new Error(
        `400 messages.${index}: a call without its result, or a result without its call: ${wrong.join(', ')}`,
      )
  }
}

function usesOf(message: Message | undefined): readonly ToolUse[] {
  return message?.role === 'assistant' && typeof message.content !== 'string' ? message.content : []
}

function resultsOf(message: Message | undefined): readonly ToolResult[] {
  return message?.role === 'user' && typeof message.content !== 'string' ? message.content : []
}

export function toolFor(name: string): (input: unknown) => Promise<string> {
  if (name !== 'find_order') throw new Error(`no tool ${name}`)
  return async () => 'on its way'
}

export async function pay({ to, eur }: { to: string; eur: number }): Promise<string> {
  return `paid ${eur} EUR to ${to}`
}

export async function fetchPage({ url }: { url: string }): Promise<string> {
  return `page of ${url} `.repeat(500)
}

export const sentMails: string[] = []

export async function sendMail({ to }: { to: string; text: string }): Promise<void> {
  sentMails.push(to)
}
