import type { SessionEvent } from '@agent-audit/detect'
import { describe, expect, it } from 'vitest'
import { event, find, sessionOf } from './support.ts'

const call = (number: number, outcome: string, second: number = number): SessionEvent =>
  event(number, { event_type: 'tool_call', tool_name: 'run', outcome, reason_code: 'POLICY_DENIED' }, second)
const calls = (count: number, outcomeAt: (index: number) => string, every = 1): SessionEvent[] =>
  Array.from({ length: count }, (_, index) => call(index, outcomeAt(index), index * every))
const burst = (events: SessionEvent[]): unknown[] => find('sandbox.denied_burst', sessionOf(events))

const crossing = (number: number, resource: string, outcome: string): SessionEvent =>
  event(number, { event_type: 'sandbox_crossing', outcome, content: { boundary: 'network', resource } })

describe('a burst of refused actions', () => {
  it('is one finding with its count, its share and the refused events', () => {
    const events = calls(10, (index) => (index % 2 === 0 ? 'denied' : 'allowed'))
    expect(burst(events)).toMatchObject([
      {
        severity: 'medium',
        signals: [{ value: 5, event_id: 'e0' }, { value: 0.56 }, { value: 'POLICY_DENIED' }],
        evidence: ['e0', 'e2', 'e4', 'e6', 'e8'],
      },
    ])
    expect(burst(calls(12, () => 'blocked'))).toMatchObject([{ severity: 'high' }])
  })

  it('is not four of them, nor some items of a batch, nor refusals over a day', () => {
    expect(burst(calls(4, () => 'denied'))).toEqual([])
    expect(burst(calls(50, (index) => (index % 5 === 0 ? 'denied' : 'allowed')))).toEqual([])
    expect(burst(calls(10, () => 'denied', 3600))).toEqual([])
  })
})

it('refused actions that are allowed in the end are no burst, those refused for good beside them are', () => {
  const tries = Array.from({ length: 6 }, (_, at) => crossing(at, 'a.example', 'denied'))
  expect(burst([...tries, crossing(7, 'a.example', 'allowed')])).toEqual([])
  expect(burst([...tries, crossing(7, 'b.example', 'allowed')])).toHaveLength(1)
})

const crossings = (...events: SessionEvent[]): unknown[] => find('sandbox.denied_crossing', sessionOf(events))

describe('refused crossings', () => {
  it('are one finding for each resource, the graver the more often it was tried', () => {
    const tries = [0, 1, 2, 3, 4].map((number) => crossing(number, 'evil.example', 'denied'))
    const found = crossings(...tries, crossing(5, '/etc/shadow', 'blocked'), crossing(6, 'api.example', 'allowed'))
    expect(found).toMatchObject([
      { cause: 's1/network evil.example', severity: 'high', evidence: { length: 5 } },
      { cause: 's1/network /etc/shadow', severity: 'low', evidence: ['e5'] },
    ])
  })

  it('that were allowed in the end are none, those refused after that are', () => {
    const [refused, allowed] = [crossing(0, 'a.example', 'denied'), crossing(1, 'a.example', 'allowed')]
    expect(crossings(refused, allowed)).toEqual([])
    expect(crossings(allowed, crossing(2, 'a.example', 'denied'))).toMatchObject([{ severity: 'low' }])
  })
})
