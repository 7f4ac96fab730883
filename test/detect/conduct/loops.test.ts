import type { Session, SessionEvent } from '@agent-audit/detect'
import { describe, expect, it } from 'vitest'
import { callsOf, event, find, sessionOf } from './support.ts'

type Line = [string, unknown, string]
const times = (count: number, line: (index: number) => Line): Line[] => Array.from({ length: count }, (_, i) => line(i))
const round = (index: number): Line => (index % 2 === 0 ? ['open', { f: 1 }, 'a'] : ['edit', { f: 1 }, 'no change'])
const LOOPS = ['loop.repeated_call', 'loop.cycle', 'loop.equal_errors', 'loop.no_progress']
const found = (lines: Line[]): string[] => LOOPS.filter((name) => find(name, callsOf(lines)).length > 0)

describe('a loop', () => {
  it('of equal calls with equal results is one finding with all its calls', () => {
    const session = callsOf([['read', {}, 'x'], ...times(6, (): Line => ['search', { q: 'a' }, 'nothing found'])])
    const findings = find('loop.repeated_call', session)
    expect(findings).toMatchObject([{ cause: 's1/e2', severity: 'high', evidence: { length: 6 } }])
    expect(found(times(4, () => ['search', { q: 'a' }, 'none']))).toEqual(['loop.repeated_call'])
  })

  it('that goes round between calls is a cycle', () => {
    expect(found(times(6, round))).toEqual(['loop.cycle'])
    expect(find('loop.cycle', callsOf(times(12, round)))).toMatchObject([{ severity: 'high' }])
  })

  it('of equal errors is found whatever its arguments and numbers in its message', () => {
    expect(found(times(5, (i) => ['book', { seat: i }, `!seat ${i}: quota exceeded`]))).toEqual(['loop.equal_errors'])
  })

  it('without order makes no progress', () => {
    const order = [0, 1, 2, 0, 2, 1, 1, 0, 2, 0, 1, 2, 2, 0, 1, 0, 2]
    const novel = times(3, (i): Line => ['get', { i }, `v${i}`])
    expect(found([...novel, ...order.slice(3).map((i): Line => ['get', { i }, `v${i}`])])).toEqual(['loop.no_progress'])
  })

  it('that ended at a limit is reported with the limit', () => {
    const end = event(1, { event_type: 'session_timeout', reason: 'max_steps', outcome: 'error' })
    expect(find('loop.step_limit', sessionOf([end]))).toMatchObject([
      { summary: expect.stringContaining('max_steps') as string },
    ])
  })
})

describe('no loop is', () => {
  it.each<[string, Line[]]>([
    [
      'polling until a job is done',
      [...times(12, (): Line => ['status', { job: 1 }, '{"state":"running"}']), ['status', { job: 1 }, 'done']],
    ],
    ['looking for mail until it comes', [...times(6, (): Line => ['inbox', {}, '[]']), ['inbox', {}, '[1]']]],
    ['polling whose job is still under way', times(12, () => ['status', { job: 1 }, 'pending'])],
    ['polling whose results change', times(9, (i) => ['status', { job: 1 }, `at ${i * 10} %`])],
    ['paging', times(20, (page) => ['list', { page }, `page ${page}`])],
    ['paging through empty pages', times(20, (page) => ['list', { page }, '[]'])],
    [
      'retries that succeed',
      [...times(6, (i): Line => ['pay', { eur: 1 }, `!503 after ${i} ms`]), ['pay', { eur: 1 }, 'paid']],
    ],
    ['a batch with some failures', times(40, (i) => ['mail', { to: i }, i % 5 === 0 ? '!no such address' : 'sent'])],
    [
      'a test run after each change',
      times(20, (i) => (i % 2 === 0 ? ['edit', { i }, 'ok'] : ['test', {}, `${i} failed`])),
    ],
    ['three equal calls', times(3, () => ['search', { q: 'a' }, 'none'])],
    [
      'format and test, until the test passes',
      [
        ...times(12, (i): Line => (i % 2 === 0 ? ['format', { f: 1 }, 'ok'] : ['test', {}, 'failed'])),
        ['test', {}, 'passed'],
      ],
    ],
    [
      'looking into an inbox with a tool that waits between',
      times(12, (i) => (i % 2 === 0 ? ['list_mail', {}, '[]'] : ['wait', { s: 30 }, 'ok'])),
    ],
    [
      'a batch whose last items fail',
      times(16, (i) => (i < 10 ? ['mail', { to: i }, 'sent'] : ['mail', { to: i }, '!no such address'])),
    ],
    ['a sensor that has changed', times(13, (i) => ['read', { sensor: 1 }, i % 7 === 6 ? '231 V' : '230 V'])],
    [
      'a watch over sensors of which one changes',
      times(24, (i) => ['read', { sensor: i % 3 }, i % 3 === 0 && i % 2 === 0 ? `${i} V` : '230 V']),
    ],
    ['comparing three files twice', times(6, (i) => ['open', { f: i % 3 }, `text ${i % 3}`])],
    ['items that fail, each in its own way', times(8, (i) => ['mail', { to: i }, `!${['full', 'blocked'][i % 2]}`])],
  ])('%s', (_name, lines) => {
    expect(found(lines)).toEqual([])
  })
})

/** The calls of a session, `seconds` apart; what `before` says comes before each. */
const apart = (lines: Line[], seconds: number, before: Partial<SessionEvent>[] = []): Session => {
  let now = Date.parse('2026-11-24T10:00:00Z')
  const events = callsOf(lines).events.flatMap((each) => {
    if (each.event_type !== 'tool_call') return [each]
    const more = before.map((fields, index) => event(0, { event_id: `${each.event_id}-${index}`, ...fields }))
    return [...more, each]
  })
  return sessionOf(
    events.map((each) => {
      now += each.event_type === 'tool_call' ? seconds * 1000 : 100
      return { ...each, timestamp: new Date(now).toISOString() }
    }),
  )
}
const foundIn = (session: Session): string[] => LOOPS.filter((name) => find(name, session).length > 0)
const says = (reasoning: string): Partial<SessionEvent>[] => [{ event_type: 'llm_call', reasoning }]
const endedBy = (reason: string): Session =>
  sessionOf([event(1, { event_type: 'session_end', outcome: 'error', reason })])
const inbox = times(8, (): Line => ['list_mail', {}, '[]'])
const rounds = times(15, (i): Line => ['read_sensor', { sensor: i % 3 }, '230 V'])

describe('the time and the words between calls tell a loop from', () => {
  it('an agent that pauses: it waits for what may come', () => {
    expect(foundIn(apart(inbox, 2))).toEqual(['loop.repeated_call'])
    expect(foundIn(apart(inbox, 20))).toEqual([])
    expect(foundIn(apart(rounds, 2))).toEqual(['loop.cycle'])
    expect(foundIn(apart(rounds, 20))).toEqual([])
  })

  it('but not from one that is slow at everything it does', () => {
    const slow = times(6, (i): Line => ['get', { i }, `record ${i}`])
    expect(foundIn(apart([...slow, ...inbox], 20))).toEqual(['loop.repeated_call'])
  })

  it('an agent that is asked again', () => {
    expect(foundIn(apart(inbox, 2, [{ event_type: 'user_message' }]))).toEqual([])
    expect(foundIn(apart(rounds, 2, [{ event_type: 'user_message' }]))).toEqual([])
  })

  it('and equal words of the model make it graver', () => {
    const four = inbox.slice(0, 4)
    expect(find('loop.repeated_call', apart(four, 2, says('I look for mail.')))).toMatchObject([{ severity: 'high' }])
    expect(find('loop.repeated_call', apart(four, 2))).toMatchObject([{ severity: 'medium' }])
  })
})

describe('a milder loop is found too:', () => {
  it('two rounds of four, of low severity', () => {
    const twice = callsOf(times(8, (i) => ['open', { f: i % 4 }, `text ${i % 4}`]))
    expect(find('loop.cycle', twice)).toMatchObject([
      { severity: 'low', summary: expect.stringMatching(/^2 rounds/) as string },
    ])
  })

  it('an error that names the argument of each call', () => {
    expect(
      found(times(5, (i) => ['query', { column: `col_${'abcde'[i]}` }, `!unknown column col_${'abcde'[i]}`])),
    ).toEqual(['loop.equal_errors'])
  })

  it('a batch in which everything fails from some item on', () => {
    const batch = times(30, (i): Line =>
      i < 15 ? ['mail', { to: i }, 'sent'] : ['mail', { to: i }, '!quota exceeded'],
    )
    expect(found(batch)).toEqual(['loop.equal_errors'])
  })

  it('a limit that the end of the session names, and no limit of the business', () => {
    expect(find('loop.step_limit', endedBy('max_turns reached'))).toHaveLength(1)
    expect(find('loop.step_limit', endedBy('Step limit of 50'))).toHaveLength(1)
    expect(find('loop.step_limit', endedBy('the credit limit is reached'))).toEqual([])
  })
})
