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
  ])('%s', (_name, lines) => {
    expect(found(lines)).toEqual([])
  })
})
