import { createTestTrail } from '@agent-audit/producer/testing'
import { expect, it } from 'vitest'
import { refundAgent } from '../../examples/refunds.ts'

it('refunds an order at most once, and records each refusal', async () => {
  const trail = createTestTrail({ agentId: 'refunds' })
  expect(await refundAgent(trail, [7, 7])).toBe(1)
  expect(trail.outline()).toEqual([
    'session_start',
    'tool_call refund allowed',
    'tool_result refund success',
    'tool_call refund denied',
    'session_end success',
  ])
  expect(trail.events({ event_type: 'tool_call' })[1]).toMatchObject({ reason: 'refunded already' })
  expect(trail.problems()).toEqual([])
})

it('refunds no order without a record', async () => {
  const trail = createTestTrail()
  trail.fail('disk')
  await expect(refundAgent(trail, [8])).rejects.toMatchObject({ code: 'NOT_RECORDED' })
})
