/**
 * Recorded sessions in the OpenAI chat format: one JSON object a session, with `messages` and, where known, `session`,
 * `agent`, `model`, `user` (or the same with `_id`) and any other keys.
 */
import { InvalidInputError, type Issue } from '@agent-audit/schemas'

type Json = Record<string, unknown>

export const ROLES = ['system', 'user', 'assistant', 'tool'] as const
export type Role = (typeof ROLES)[number]

export interface RecordedSession {
  readonly session: string | undefined
  readonly agent: string | undefined
  readonly model: string | undefined
  readonly user: string | undefined
  readonly messages: readonly RecordedMessage[]
  /** All other top-level keys, such as `reward`. */
  readonly extras: Json
}

export interface RecordedMessage {
  /** `developer`, the newer name of a system message, becomes `system`. */
  readonly role: Role
  /** The message as the recording holds it. */
  readonly raw: Json
  readonly content: unknown
  /** The content's text: the content itself, or its text parts joined; null without text. */
  readonly text: string | null
  readonly toolCalls: readonly RecordedToolCall[]
  /** Of a tool message: the call it answers. */
  readonly toolCallId: string
  /** Of a tool message. */
  readonly name: string | undefined
  /** All other keys. */
  readonly extras: Json
}

export interface RecordedToolCall {
  readonly id: string | undefined
  readonly name: string
  /** The parsed arguments; arguments that are not JSON stay text. */
  readonly input: unknown
}

const ROLE_OF: Readonly<Record<string, Role>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
}
const MAX_ID_LENGTH = 200

/**
 * Reads one line.
 * @throws InvalidInputError `INPUT_UNREADABLE`: the line is not JSON, or has another shape; it names each wrong path.
 */
export function readRecordedSession(line: string): RecordedSession {
  const shape = new Shape()
  const { messages, ...rest } = shape.object('', parse(line))
  const read = shape
    .array('messages', messages)
    .map((message, index) => readMessage(shape, `messages[${index}]`, message))
  const named = (name: string): string | undefined => {
    const key = rest[`${name}_id`] === undefined ? name : `${name}_id`
    const value = rest[key]
    delete rest[key]
    return shape.optionalText(key, value, MAX_ID_LENGTH)
  }
  const identity = { session: named('session'), agent: named('agent'), model: named('model'), user: named('user') }
  shape.check()
  return { ...identity, messages: read, extras: rest }
}

function readMessage(shape: Shape, path: string, value: unknown): RecordedMessage {
  const raw = shape.object(path, value)
  const { role: given, content, tool_calls: calls, tool_call_id: callId, name, ...extras } = raw
  const role = ROLE_OF[String(given)] ?? shape.wrong(`${path}.role`, `expected ${ROLES.join(', ')}`, given)
  if (!isContent(content)) shape.wrong(`${path}.content`, 'expected text, an array of parts, or null', content)
  const ofTool = role === 'tool'
  const toolName = shape.optionalText(`${path}.name`, name)
  return {
    role: role ?? 'user',
    raw,
    content: content ?? null,
    text: textOf(content),
    toolCalls: readToolCalls(shape, `${path}.tool_calls`, role === 'assistant' ? calls : undefined),
    toolCallId: ofTool ? shape.text(`${path}.tool_call_id`, callId) : '',
    name: ofTool ? toolName : undefined,
    extras: ofTool || toolName === undefined ? extras : { name: toolName, ...extras },
  }
}

function readToolCalls(shape: Shape, path: string, value: unknown): RecordedToolCall[] {
  if (value === undefined || value === null) return []
  return shape.array(path, value).map((item, index) => {
    const at = `${path}[${index}]`
    const call = shape.object(at, item)
    const called = shape.object(`${at}.function`, call['function'])
    return {
      id: shape.optionalText(`${at}.id`, call['id']),
      name: shape.text(`${at}.function.name`, called['name']),
      input: parseArguments(called['arguments']),
    }
  })
}

function parseArguments(given: unknown): unknown {
  if (typeof given !== 'string') return given ?? null
  try {
    return JSON.parse(given) as unknown
  } catch {
    return given
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown
  } catch (cause) {
    // The parser's own message quotes the line.
    const at = /at position (\d+)/.exec((cause as Error).message)?.[1]
    const where = at === undefined ? '' : ` (character ${Number(at) + 1})`
    throw new InvalidInputError('INPUT_UNREADABLE', `not JSON${where}`, { cause })
  }
}

function isContent(value: unknown): boolean {
  return value === undefined || value === null || typeof value === 'string' || Array.isArray(value)
}

function textOf(content: unknown): string | null {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return null
  const texts = content.flatMap((part: unknown) => {
    const text = (part as { text?: unknown } | null)?.text
    return typeof text === 'string' ? [text] : []
  })
  return texts.length === 0 ? null : texts.join('')
}

/** Collects every path whose value has another shape. */
class Shape {
  readonly #issues: Issue[] = []

  object(path: string, value: unknown): Json {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...(value as Json) }
    this.wrong(path, 'expected an object', value)
    return {}
  }

  array(path: string, value: unknown): unknown[] {
    if (Array.isArray(value)) return value as unknown[]
    this.wrong(path, 'expected an array', value)
    return []
  }

  text(path: string, value: unknown): string {
    if (typeof value === 'string' && value !== '') return value
    this.wrong(path, 'expected text that is not empty', value)
    return ''
  }

  optionalText(path: string, value: unknown, maxLength?: number): string | undefined {
    if (value === undefined || value === null) return undefined
    const text = this.text(path, value)
    if (maxLength !== undefined && text.length > maxLength) this.wrong(path, `expected at most ${maxLength} characters`)
    return text
  }

  wrong(path: string, expected: string, value?: unknown): undefined {
    const found = value === undefined ? '' : `, found ${kindOf(value)}`
    this.#issues.push({ path, expected: `${expected}${found}` })
  }

  check(): void {
    // An issue inside a wrong object adds nothing.
    const issues = this.#issues.filter(
      ({ path }, index) =>
        !this.#issues.slice(0, index).some((before) => path.startsWith(`${before.path}.`) || before.path === ''),
    )
    if (issues.length === 0) return
    const listed = issues.slice(0, 5).map(({ path, expected }) => (path === '' ? expected : `${path}: ${expected}`))
    const more = issues.length > listed.length ? `; and ${issues.length - listed.length} more` : ''
    throw new InvalidInputError('INPUT_UNREADABLE', `not a recorded session: ${listed.join('; ')}${more}`, { issues })
  }
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'string') return value === '' ? 'an empty text' : 'a text'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
