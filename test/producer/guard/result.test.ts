/** The three answers of a guard: not run; run and its result recorded; run, and its result could not be recorded. */
import { type AuditTrailOptions, ResultNotRecordedError, TrailError } from '@agent-audit/producer'
import { createTestTrail, type TestTrail } from '@agent-audit/producer/testing'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { takeSeed } from '../../support/seed.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail, sessionRows } from '../support.ts'

const payment = { tool_name: 'pay', tool_input: { eur: 1200 }, tool_call_id: 'c1' }
const REFUSALS = ['ActionRefusedError', 'AuditUnavailableError']

/** What is known of an action's effect, as its results on record say. */
function effects(trail: TestTrail): unknown[] {
  return trail.events({ event_type: 'tool_result' }).map(({ effect }) => effect)
}

describe('a result that is recorded', () => {
  it.each([
    ['has taken effect when the tool returned', {}, 'confirmed'],
    ['was sent when the call says that the tool only sends', { effect: 'dispatched' }, 'dispatched'],
  ] as const)('%s', async (_, options, effect) => {
    const trail = createTestTrail()
    await trail.startSession().guard(payment, () => 'paid', options)
    expect(effects(trail)).toEqual([effect])
  })

  it('leaves the effect unknown when the tool threw', async () => {
    const trail = createTestTrail()
    const cut = new Error('connection cut')
    await expect(trail.startSession().guard(payment, () => Promise.reject(cut))).rejects.toBe(cut)
    expect(effects(trail)).toEqual(['unknown'])
  })

  it('says nothing of an effect when the tool was not run', async () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    trail.fail('full')
    await expect(session.guard(payment, () => 'paid')).rejects.toMatchObject({ code: 'NOT_RECORDED' })
    trail.fail(undefined)
    session.end()
    expect(trail.events({ event_type: 'tool_result' })).toMatchObject([{ outcome: 'blocked', effect: null }])
  })
})

describe('a result that cannot be recorded', () => {
  const THROW = { onResultUnavailable: 'throw' } as const

  it('is thrown with the value of the tool, and can never be retried', async () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    const receipt = { id: 'p-77' }
    const error: unknown = await session
      .guard(payment, () => (trail.fail('full'), receipt), THROW)
      .catch((thrown: unknown) => thrown)
    const [call] = trail.events({ event_type: 'tool_call' })
    expect(error).toBeInstanceOf(ResultNotRecordedError)
    expect(error).toMatchObject({
      code: 'RESULT_NOT_RECORDED',
      retryable: false,
      outcome: 'success',
      event_id: call?.event_id,
      failure: { code: 'SPOOL_FULL' },
      cause: { code: 'SPOOL_FULL' },
    })
    expect((error as ResultNotRecordedError).value).toBe(receipt)
    expect((error as Error).message).not.toContain('p-77')
  })

  it('is thrown with the error of the tool as its cause', async () => {
    const trail = createTestTrail()
    const cut = new Error('connection cut')
    const work = (): never => {
      trail.fail('full')
      throw cut
    }
    const error: unknown = await trail
      .startSession()
      .guard(payment, work, THROW)
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'RESULT_NOT_RECORDED', outcome: 'error', failure: { code: 'SPOOL_FULL' } })
    expect((error as Error).cause).toBe(cut)
  })

  it.each([
    ['is refused', 'full', 'SPOOL_FULL'],
    ['is not stored in time', 'disk', 'NOT_RECORDED'],
  ] as const)('is thrown when it %s', async (_, how, code) => {
    const trail = createTestTrail(THROW)
    const paid = trail.startSession().guard(payment, () => (trail.fail(how), 'paid'))
    await expect(paid).rejects.toMatchObject({ code: 'RESULT_NOT_RECORDED', value: 'paid', failure: { code } })
  })

  it('is thrown when the trail has been closed meanwhile', async () => {
    const trail = createTestTrail(THROW)
    const paid = trail.startSession().guard(payment, async () => {
      await trail.close()
      return 'paid'
    })
    await expect(paid).rejects.toMatchObject({ code: 'RESULT_NOT_RECORDED', failure: { code: 'TRAIL_CLOSED' } })
  })

  it.each([
    ['by default', {}, {}],
    ['where the call overrules the trail', THROW, { onResultUnavailable: 'report' }],
  ] as const)('goes to onProblem %s, without the value, which the caller gets', async (_, ofTrail, ofCall) => {
    const onProblem = vi.fn<(problem: TrailError) => void>()
    const trail = createTestTrail({ onProblem, ...ofTrail })
    const session = trail.startSession()
    expect(await session.guard(payment, () => (trail.fail('full'), 'paid'), ofCall)).toBe('paid')
    const [call] = trail.events({ event_type: 'tool_call' })
    const failure = { code: 'SPOOL_FULL' }
    expect(onProblem.mock.calls.map(([problem]) => problem)).toMatchObject([
      { code: 'RESULT_NOT_RECORDED', event_id: call?.event_id, outcome: 'success', value: undefined, failure },
    ])
  })

  it('is on record without its output as soon as there is room', async () => {
    const trail = createTestTrail({ onProblem: () => {} })
    const session = trail.startSession({ session_id: 's1' })
    await session.guard(payment, () => (trail.fail('full'), 'paid'))
    expect(trail.problems()).toContainEqual(expect.stringMatching(/pay .* has no result/))
    trail.fail(undefined)
    session.end()
    const [call] = trail.events({ event_type: 'tool_call' })
    expect(trail.events({ event_type: 'tool_result' })).toMatchObject([
      {
        parent_event_id: call?.event_id,
        outcome: 'success',
        effect: 'confirmed',
        tool_output: null,
        content: { output_not_recorded: 'SPOOL_FULL' },
      },
    ])
    expect(trail.problems()).toEqual([])
  })

  it('of a tool that filled the memory is reported once, and its short result follows', async () => {
    const codes: string[] = []
    const dataDir = makeTempDirectory()
    const options: Partial<AuditTrailOptions> = {
      durability: 'memory',
      maxBufferBytes: 2 ** 20,
      guardTimeoutMs: 60_000,
    }
    const trail = openTrail({ dataDir, ...options, onProblem: ({ code }) => void codes.push(code) })
    const session = trail.startSession()
    const paid = await session.guard(payment, () => {
      for (let index = 0; index < 30; index++) session.decision({ reasoning: 'x'.repeat(60_000) })
      return 'paid'
    })
    expect(paid).toBe('paid')
    await trail.writable()
    await trail.close()
    expect(codes.filter((code) => code === 'RESULT_NOT_RECORDED')).toHaveLength(1)
    const results = sessionRows(dataDir).filter((row) => row.event_type === 'tool_result')
    expect(results).toMatchObject([{ outcome: 'success', content: { output_not_recorded: 'BUFFER_FULL' } }])
  })
})

/** How storing fails before the call, while the tool runs, or not at all. */
const course = fc.record({
  before: fc.constantFrom(undefined, 'disk', 'full', 'broker'),
  during: fc.constantFrom(undefined, 'disk', 'full', 'broker'),
  durability: fc.constantFrom('disk', 'broker'),
  throws: fc.boolean(),
  denied: fc.boolean(),
  choice: fc.constantFrom('throw', 'report'),
} as const)

it('a guard gives one of three answers, and each says truly whether the tool ran and whether its result is stored', async () => {
  await fc.assert(
    fc.asyncProperty(course, async ({ before, during, durability, throws, denied, choice }) => {
      const problems: string[] = []
      const trail = createTestTrail({ onProblem: ({ code }) => void problems.push(code) })
      const session = trail.startSession()
      trail.fail(before)
      const [value, fault] = [{ paid: true }, new Error('cut')]
      let runs = 0
      const work = (): object => {
        runs++
        trail.fail(during)
        if (throws) throw fault
        return value
      }
      const check = () => (denied ? { outcome: 'denied' as const, reason: 'no' } : { outcome: 'allowed' as const })
      const outcome = await session.guard(payment, work, { check, durability, onResultUnavailable: choice }).then(
        (returned) => ({ returned, error: undefined }),
        (error: unknown) => ({ returned: undefined, error }),
      )
      const { error } = outcome
      const stored = trail.events({ event_type: 'tool_result' }).some((result) => result.outcome !== 'blocked')
      if (error instanceof ResultNotRecordedError) {
        expect([runs, choice]).toEqual([1, 'throw'])
        expect(throws ? error.cause : error.value).toBe(throws ? fault : value)
      } else if (error instanceof TrailError) {
        expect(runs).toBe(0)
        expect(REFUSALS).toContain(error.name)
        expect(stored).toBe(false)
      } else {
        expect(runs).toBe(1)
        expect(throws ? error : outcome.returned).toBe(throws ? fault : value)
        if (choice === 'throw') expect(stored).toBe(true)
        // Refused: the operator knows. Otherwise the result is stored, or waits to be.
        else if (during === 'full') expect(problems).toContain('RESULT_NOT_RECORDED')
      }
    }),
    { seed: takeSeed('three answers'), numRuns: 300 },
  )
})
