/** An agent loop written by hand: it records every answer of the model, and every tool call before the tool runs. */
import type { AuditTrail } from '@agent-audit/producer'
import { callModel, type Message, toolFor, type ToolResult } from './yours.ts'

const MAX_STEPS = 10

export function answer(trail: AuditTrail, text: string): Promise<string> {
  return trail.withSession({ user_message: text, tools_available: ['find_order'] }, async (session) => {
    const messages: Message[] = [{ role: 'user', content: text }]
    for (let step = 0; step < MAX_STEPS; step++) {
      const startMs = performance.now()
      const { message, text: output_text, calls, usage } = await callModel(messages)
      const latency_ms = performance.now() - startMs
      // Pass the whole history each time: the session leaves out the messages that it has recorded.
      session.llmCall({ input_messages: messages, output_text, tool_calls_requested: calls, ...usage, latency_ms })
      // A model's API refuses the result of a call that no assistant message before it asked for.
      messages.push(message)
      if (calls.length === 0) {
        session.end({ output_text })
        return output_text ?? ''
      }
      const results: ToolResult[] = []
      for (const { id, name, input } of calls) {
        const call = { tool_call_id: id, tool_name: name, tool_input: input }
        // If the call is not recorded, denied or failed, the model gets the error as the result and continues.
        const content = await session.guard(call, toolFor(name)).catch(String)
        results.push({ type: 'tool_result', tool_use_id: id, content })
      }
      messages.push({ role: 'user', content: results })
    }
    session.timeout({ reason: 'max_iterations_reached' })
    return 'I could not find out.'
  })
}
