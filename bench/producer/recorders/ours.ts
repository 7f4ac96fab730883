/** Our producer with its default settings, except for durability and redaction. */
import { setImmediate } from 'node:timers/promises'
import { createAuditTrail, type Durability } from '@agent-audit/producer'
import { AGENT, MODEL } from './plain-events.ts'
import type { OpenRecorder } from './recorder.ts'

const PROMPT_SHA256 = '7c'.repeat(32)
const FLUSH_TIMEOUT_MS = 120_000

export function ours(durability: Durability, redact: 'secrets' | 'off'): OpenRecorder {
  return ({ brokers, topic, directory }) => {
    const trail = createAuditTrail({
      agentId: AGENT,
      modelId: MODEL,
      systemPrompt: { sha256: PROMPT_SHA256 },
      brokers,
      topic,
      spoolDir: directory,
      durability,
      redact,
      onProblem: (problem) => process.stderr.write(`${problem.code}: ${problem.message}\n`),
    })
    return Promise.resolve({
      async play({ start, events }) {
        await trail.writable()
        const buffered = trail.stats().bufferBytes
        const session = trail.startSession(start)
        for (const event of events) session.record(event)
        session.end()
        const bytes = trail.stats().bufferBytes - buffered
        // Yields between two sessions, as the loop of an agent does.
        await setImmediate()
        return { events: events.length + 2, bytes }
      },
      async flush() {
        const { pending, refused } = await trail.flush({ timeoutMs: FLUSH_TIMEOUT_MS })
        if (pending > 0 || refused > 0) throw new Error(`${pending} events not acknowledged, ${refused} refused`)
      },
      close: () => trail.close(),
    })
  }
}
