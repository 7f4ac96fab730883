/** Serverless: the disk does not last, and the process is frozen between two calls. An event counts once the broker has it: KAFKA_BROKERS names it. */
import { createAuditTrail } from '@agent-audit/producer'
import { answer } from './loop.ts'

const trail = createAuditTrail({ agentId: 'faq', durability: 'broker', handleExit: false })

export async function handler(event: { text: string }): Promise<string> {
  try {
    return await answer(trail, event.text)
  } finally {
    const { pending } = await trail.flush({ timeoutMs: 2000 })
    if (pending > 0) process.stderr.write(`${pending} audit events are not acknowledged\n`)
  }
}
