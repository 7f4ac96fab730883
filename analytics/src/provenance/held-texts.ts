/** What an event holds of other parties' words: the texts that an argument may come from, and who said each. */
import type { TrailEvent } from '../queries/session-trail.ts'

/** What provenance reads of an event. */
export type ProvenanceEvent = Pick<
  TrailEvent,
  | 'event_id'
  | 'event_type'
  | 'tool_call_id'
  | 'tool_name'
  | 'tool_input'
  | 'tool_output'
  | 'output_text'
  | 'input_messages'
  | 'content'
  | 'system_prompt_hash'
  | 'timestamp'
  | 'run_seq'
>

/** Who said a text: a person, the system prompt, a tool, or the model itself. */
export type Speaker = 'user' | 'system_prompt' | 'tool_output' | 'model'

export interface HeldText {
  readonly where: Speaker
  readonly text: string
}

const MAX_DEPTH = 64

/** The texts of one event. Never throws: a field that another producer wrote may have any shape. */
export function heldTexts(event: ProvenanceEvent): HeldText[] {
  const held: HeldText[] = []
  const add = (where: Speaker, value: unknown): void => {
    const text = leavesOf(value).join('\n')
    if (text !== '') held.push({ where, text })
  }
  const content = fieldsOf(event.content)
  add('user', content['user_message'])
  add('system_prompt', content['system_prompt'])
  if (event.event_type === 'user_message') add('user', content['message'])
  if (event.event_type.endsWith('system_message')) add('system_prompt', content['message'])
  for (const { where, value } of spokenMessages(event.input_messages)) add(where, value)
  add('tool_output', event.tool_output)
  if (event.event_type === 'tool_call') add('model', event.tool_input)
  add('model', event.output_text)
  return held
}

/** Messages given to the model, without its own: Anthropic sends results of tools as parts of a message of the user. */
function* spokenMessages(messages: unknown): Generator<{ where: Speaker; value: unknown }> {
  for (const message of Array.isArray(messages) ? messages : []) {
    const { role, content } = fieldsOf(message)
    if (role === 'system' || role === 'developer') yield { where: 'system_prompt', value: content }
    if (role === 'tool' || role === 'function') yield { where: 'tool_output', value: content }
    if (role !== 'user') continue
    for (const part of Array.isArray(content) ? content : [content]) {
      const { type, content: result, text } = fieldsOf(part)
      if (type === 'tool_result') yield { where: 'tool_output', value: result }
      else yield { where: 'user', value: text ?? (typeof part === 'string' ? part : undefined) }
    }
  }
}

/** Each text and number inside a value, with its JSON path. Not recursive, so that no nesting overflows the stack. */
export function* leafPaths(value: unknown): Generator<{ path: string; leaf: string | number }> {
  const open: { path: string; value: unknown; depth: number }[] = [{ path: '$', value, depth: 0 }]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { path, value: at, depth } = next
    if (typeof at === 'string' || typeof at === 'number') yield { path, leaf: at }
    if (typeof at !== 'object' || at === null || depth === MAX_DEPTH) continue
    const inside: [string, unknown][] = Array.isArray(at)
      ? at.map((item, index) => [`${path}[${index}]`, item])
      : Object.entries(at).map(([name, item]) => [`${path}${step(name)}`, item])
    for (const [below, item] of inside.toReversed()) open.push({ path: below, value: item, depth: depth + 1 })
  }
}

function step(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`
}

function leavesOf(value: unknown): string[] {
  return Array.from(leafPaths(value), ({ leaf }) => String(leaf))
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
