/** A server on this machine that speaks Anthropic's Messages API, in JSON or as a stream of events, from a script. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Anthropic from '@anthropic-ai/sdk'
import { onTestFinished } from 'vitest'

/** An answer of the model: its parts, or the failure of the request. */
export interface Answer {
  readonly content?: readonly Block[]
  readonly stop_reason?: string
  readonly usage?: Readonly<Record<string, number>>
  /** HTTP status of a refusal. */
  readonly status?: number
  /** The server does not finish the answer until the client disconnects; a stream sends its first text. */
  readonly hang?: boolean
}

type Block =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'thinking'; readonly thinking: string; readonly signature: string }
  | { readonly type: 'tool_use'; readonly id: string; readonly name: string; readonly input: unknown }

export interface MessagesRequest {
  readonly model: string
  readonly max_tokens: number
  readonly system: string
  readonly messages: readonly { readonly role: string; readonly content: unknown }[]
  readonly tools: readonly { readonly name: string }[]
  readonly stream?: boolean
}

export interface ScriptedModel {
  readonly client: Anthropic
  /** Bodies of the requests so far. */
  readonly requests: MessagesRequest[]
  /** Cuts all connections. */
  cut(): void
}

/** Starts a server that answers the requests in turn from the script, and a client of the real SDK. The test's end stops it. */
export async function scriptModel(...script: readonly Answer[]): Promise<ScriptedModel> {
  const requests: MessagesRequest[] = []
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      requests.push(body)
      const answer = script[requests.length - 1] ?? { status: 500 }
      return body.stream === true ? stream(response, answer) : answerWhole(response, answer)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const client = new Anthropic({ apiKey: 'none', baseURL: `http://127.0.0.1:${port}`, maxRetries: 0 })
  return { client, requests, cut: () => server.closeAllConnections() }
}

async function readBody(request: IncomingMessage): Promise<MessagesRequest> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk as string
  return JSON.parse(text) as MessagesRequest
}

function messageOf({ content = [], stop_reason = 'end_turn', usage = {} }: Answer): Record<string, unknown> {
  return {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: 'claude-test-20990101',
    content,
    stop_reason,
    stop_sequence: null,
    usage: { input_tokens: 10, output_tokens: 5, ...usage },
  }
}

function answerWhole(response: ServerResponse, answer: Answer): void {
  if (answer.hang === true) return
  response.statusCode = answer.status ?? 200
  response.setHeader('content-type', 'application/json')
  const refusal = { type: 'error', error: { type: 'api_error', message: 'the script says no' } }
  response.end(JSON.stringify(answer.status === undefined ? messageOf(answer) : refusal))
}

function stream(response: ServerResponse, answer: Answer): void {
  if (answer.status !== undefined) return answerWhole(response, answer)
  response.setHeader('content-type', 'text/event-stream')
  const send = (type: string, data: object): void => {
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`)
  }
  const whole = messageOf(answer)
  send('message_start', { message: { ...whole, content: [], stop_reason: null } })
  for (const [index, block] of (answer.content ?? []).entries()) {
    send('content_block_start', { index, content_block: emptyOf(block) })
    for (const delta of deltasOf(block)) {
      send('content_block_delta', { index, delta })
      if (answer.hang === true) return
    }
    send('content_block_stop', { index })
  }
  send('message_delta', {
    delta: { stop_reason: whole['stop_reason'], stop_sequence: null },
    usage: { output_tokens: 7 },
  })
  send('message_stop', {})
  response.end()
}

function emptyOf(block: Block): object {
  if (block.type === 'text') return { type: 'text', text: '' }
  if (block.type === 'thinking') return { type: 'thinking', thinking: '', signature: '' }
  return { ...block, input: {} }
}

function deltasOf(block: Block): object[] {
  if (block.type === 'text') return halves(block.text).map((text) => ({ type: 'text_delta', text }))
  if (block.type === 'thinking') {
    const deltas = halves(block.thinking).map((thinking) => ({ type: 'thinking_delta', thinking }))
    return [...deltas, { type: 'signature_delta', signature: block.signature }]
  }
  return halves(JSON.stringify(block.input)).map((json) => ({ type: 'input_json_delta', partial_json: json }))
}

function halves(text: string): string[] {
  const middle = Math.ceil(text.length / 2)
  return [text.slice(0, middle), text.slice(middle)]
}
