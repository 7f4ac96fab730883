/** Hand-made sessions, as our producer records them. */
import { type Session, SESSION_FIELDS, type SessionEvent } from '@agent-audit/detect'

const EMPTY = Object.fromEntries(SESSION_FIELDS.map((name) => [name, null])) as unknown as SessionEvent

type Step =
  | { readonly user: string }
  | {
      readonly call: string
      readonly input?: Record<string, unknown>
      readonly output?: string
      readonly fields?: Partial<SessionEvent>
    }

/** Event k has the id `k`; a step of a tool is two events, call and result. */
export function sessionOf(...steps: readonly Step[]): Session {
  const events: SessionEvent[] = []
  const add = (event_type: string, fields: Partial<SessionEvent>): void => {
    const event_id = String(events.length)
    events.push({ ...EMPTY, event_id, event_type, run_seq: events.length, requires_approval: false, ...fields })
  }
  add('session_start', { content: { system_prompt: 'You are a helpful assistant.' } })
  for (const step of steps) {
    if ('user' in step) {
      add('user_message', { content: { message: step.user } })
      continue
    }
    const { call: tool_name, input: tool_input = {}, output: tool_output = 'done', fields = {} } = step
    const tool_call_id = `call-${events.length}`
    add('tool_call', { tool_name, tool_input, tool_call_id, ...fields })
    add('tool_result', { tool_name, tool_output, tool_call_id })
  }
  return { session_id: 's', agent_id: 'a', events }
}
