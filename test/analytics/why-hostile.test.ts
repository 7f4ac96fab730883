/** Records that a hostile or broken producer wrote: each still has an answer. */
import { why } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import { seedEvents } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

const id = (index: number): string => `01900000-0000-7000-8000-${index.toString(16).padStart(12, '0')}`

describe.skipIf(NO_CLICKHOUSE !== undefined)(`why of hostile records ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('records of another producer, in any shape: causes in a circle, broken JSON, numbers beyond a double', async () => {
    const store = await tests.newTrail()
    const shapes = [
      'not json',
      '[]',
      '[null,1,{"role":3}]',
      '{"a":',
      `${'['.repeat(300)}${']'.repeat(300)}`,
      '"text"',
      'null',
    ]
    const types = [
      'llm_call',
      'tool_call',
      'tool_result',
      'approval_request',
      'approval_decision',
      'human_intervention',
      'acme.custom',
    ]
    const rows = types.flatMap((event_type, at) =>
      shapes.map((shape, index) => ({
        ...Object.fromEntries(
          [
            'input_messages',
            'tool_calls_requested',
            'tool_input',
            'tool_output',
            'content',
            'policy',
            'approval',
            'reasoning',
          ].map((field) => [field, shape]),
        ),
        event_type,
        event_id: id(at * shapes.length + index),
        log_offset: at * shapes.length + index,
        run_seq: index === 0 ? '9223372036854775807' : at * shapes.length + index,
        // Each event is led to by the next of its shape; the last type by the first: a circle.
        parent_event_id: id(((at + 1) % types.length) * shapes.length + index),
        approval_id: id(3 * shapes.length + index),
        tool_name: 'pay',
        tool_call_id: 'same',
        approver_id: 'kim',
      })),
    )
    await seedEvents(store.server, rows)
    for (const { event_id } of rows.filter((_, index) => index % 4 === 0)) {
      const answer = await why(store, event_id)
      expect(answer?.asked.event_id).toBe(event_id)
      expect(JSON.parse(JSON.stringify(answer))).toEqual(answer)
    }
  })
})
