/** An agent loop written by hand: every answer of the model, and every tool call before it runs. */
import type { AuditTrail } from '@agent-audit/producer'
import { callModel, toolFor } from './yours.ts'

const MAX_STEPS = 10

export function answer(trail: AuditTrail, text: string): Promise<string> {
  return trail.withSession({ user_message: text, tools_available: ['find_order'] }, async (session) => {
    const messages: { role: string; content: unknown }[] = [{ role: 'user', content: text }]
    for (let step = 0; step < MAX_STEPS; step++) {
      const startMs = performance.now()
      const { text: output_text, calls, usage } = await callModel(messages)
      const latency_ms = performance.now() - startMs
      // The whole history each time: what the session has recorded already is left out of the record.
      session.llmCall({ input_messages: messages, output_text, tool_calls_requested: calls, ...usage, latency_ms })
      if (calls.length === 0) {
        session.end({ output_text })
        return output_text ?? ''
      }
      for (const { id, name, input } of calls) {
        const call = { tool_call_id: id, tool_name: name, tool_input: input }
        // Not recorded, denied or failed: the model is told, and goes on.
        const content = await session.guard(call, toolFor(name)).catch(String)
        messages.push({ role: 'tool', content })
      }
    }
    session.timeout({ reason: 'max_iterations_reached' })
    return 'I could not find out.'
  })
}
