/** Reads values of JSON fields, which another producer may have written in any shape. */
import type { TrailEvent } from '../queries/session-trail.ts'
import type { EventRef } from './answer.ts'

export function refOf({ event_id, event_type, timestamp, agent_id, tool_name, outcome }: EventRef): EventRef {
  return { event_id, event_type, timestamp, agent_id, tool_name, outcome }
}

export function memberOf(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
  return (value as Record<string, unknown>)[key]
}

export function textIn(value: unknown, key: string): string | null {
  const member = memberOf(value, key)
  return typeof member === 'string' ? member : null
}

/** The main text of an event: what was said, returned or failed. */
export function mainText(event: TrailEvent): string | null {
  const { error, output_text, tool_output, reasoning, content, tool_input, reason } = event
  const said = memberOf(content, 'user_message') ?? memberOf(content, 'message')
  const found = error ?? output_text ?? tool_output ?? said ?? reasoning ?? tool_input ?? reason ?? content
  if (found === null || found === undefined) return null
  return typeof found === 'string' ? found : JSON.stringify(found)
}

/** Whether two values are the same JSON, in any order of keys. */
export function sameJson(one: unknown, other: unknown): boolean {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other))
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1))
  return entries.map(([key, member]) => [key, sorted(member)])
}
