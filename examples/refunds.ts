/** An agent whose test reads its trail: test/examples/refunds.test.ts. */
import { ActionRefusedError, type AuditTrail, type Ruling } from '@agent-audit/producer'

/** Refunds each order that it is asked to, if the policy allows it: once an order. */
export function refundAgent(trail: AuditTrail, orders: readonly number[]): Promise<number> {
  const refunded = new Set<number>()
  const once = (order: number): Ruling =>
    refunded.has(order) ? { outcome: 'denied', reason: 'refunded already' } : { outcome: 'allowed' }
  return trail.withSession({ user_message: `refund ${orders.join(', ')}` }, async (session) => {
    for (const order of orders) {
      const call = { tool_name: 'refund', tool_input: { order } }
      try {
        await session.guard(call, (input) => void refunded.add(input.order), { check: () => once(order) })
      } catch (error) {
        if (!(error instanceof ActionRefusedError)) throw error // No refund without a record.
      }
    }
    return refunded.size
  })
}
