/** What a tool returns is recorded as JSON has it, in a record that the consumer stores. */
import { createTestTrail } from '@agent-audit/producer/testing'
import * as fc from 'fast-check'
import type { FuzzTarget } from './target.ts'

export const fuzz: FuzzTarget = {
  name: 'values',
  property: fc.property(fc.jsonValue(), (value) => {
    const trail = createTestTrail()
    const session = trail.startSession()
    session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: { value } })
    const recorded: unknown = trail.events({ event_type: 'tool_result' })[0]?.tool_output
    const expected: unknown = JSON.parse(JSON.stringify({ value }))
    if (JSON.stringify(recorded) !== JSON.stringify(expected)) throw new Error(`recorded: ${JSON.stringify(recorded)}`)
  }),
}
