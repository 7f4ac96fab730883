/**
 * An agent on Claude. The trail records every answer of the model, and every tool call before the tool runs.
 * Needs ANTHROPIC_API_KEY, and a destination: KAFKA_BROKERS, or AUDIT_DATA_DIR for the embedded log.
 *
 *   export AUDIT_DATA_DIR=.audit-data
 *   node --conditions=agent-audit-source examples/claude-agent.ts "Where is order 7?"
 *   npx agent-audit trail SESSION --data-dir .audit-data
 */
import Anthropic from '@anthropic-ai/sdk'
import { createAuditTrail } from '@agent-audit/producer'
import { runAuditedAgent } from '@agent-audit/producer/anthropic'

const ORDERS: Readonly<Record<string, string>> = { 7: 'shipped on Monday', 8: 'waiting for payment' }

await using trail = createAuditTrail({ agentId: 'customer-service-v1' })

const { session_id, stop } = await runAuditedAgent({
  trail,
  client: new Anthropic(),
  model: 'claude-opus-4-6',
  system: 'You answer questions about orders. Be brief.',
  message: process.argv[2] ?? 'Where is order 7?',
  tools: [
    {
      name: 'find_order',
      description: 'Looks an order up by its number.',
      input_schema: { type: 'object', properties: { number: { type: 'string' } }, required: ['number'] },
      run: ({ number }: { number: string }) => ORDERS[number] ?? 'no such order',
    },
    {
      name: 'cancel_order',
      description: 'Cancels an order.',
      input_schema: { type: 'object', properties: { number: { type: 'string' } }, required: ['number'] },
      run: ({ number }: { number: string }) => `order ${number} is cancelled`,
      // The model gets the refusal as the tool's result, and the trail records it.
      guard: { check: () => ({ outcome: 'denied', reason: 'only people cancel orders' }) },
    },
  ],
  onText: (delta) => process.stdout.write(delta),
})
process.stdout.write(`\n${stop}: session ${session_id}\n`)
