/** Each number of a run that is not stored is explained by the run itself, claimed by another record, or missing. */
import { completeness, type Range, type RunReport } from '@agent-audit/analytics'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { draw, takeSeed } from '../support/seed.ts'
import { lostOf } from './completeness-support.ts'
import { runId, type SeedRow, seedEvents, seedSkipped } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

const MOST = 30
const RANGE = fc.tuple(fc.nat(MOST), fc.nat(8)).map(([first, length]): Range => ({ first, last: first + length }))
const RUN = fc.record({
  stored: fc.uniqueArray(fc.nat(MOST), { minLength: 1, maxLength: 8 }),
  own: fc.array(RANGE, { maxLength: 2 }),
  foreign: fc.array(RANGE, { maxLength: 3 }),
  dead: fc.array(fc.nat(MOST), { maxLength: 5 }),
})
type Run = ReturnType<typeof RUN.generate>['value']
const NO_REPORT: Partial<RunReport> = {}

const covers = (ranges: readonly Range[], at: number): boolean =>
  ranges.some(({ first, last }) => first <= at && at <= last)
const listed = (ranges: readonly Range[]): number[] =>
  ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, index) => first + index))

/** What the report has to say, number by number. */
function byHand({ stored, own, foreign, dead }: Run): Record<'lost' | 'claims' | 'gaps', number[]> {
  const last = Math.max(...stored) + own.length
  const there = new Set([...stored, ...own.map((_, index) => Math.max(...stored) + 1 + index)])
  const absent = Array.from({ length: last }, (_, at) => at).filter((at) => !there.has(at))
  const claimed = (at: number): boolean => covers(foreign, at) || dead.includes(at)
  return {
    lost: absent.filter((at) => covers(own, at)),
    claims: absent.filter((at) => !covers(own, at) && claimed(at)),
    gaps: absent.filter((at) => !covers(own, at) && !claimed(at)),
  }
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`claims ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('agree with a count by hand, whatever is stored, claimed and explained', async () => {
    const seed = takeSeed('claims')
    const runs = draw(RUN, 60, seed)
    const claimant = runId(1000)
    const events: SeedRow[] = []
    const add = (run_id: string, run_seq: number, fields: SeedRow = {}): void => {
      events.push({ run_id, run_seq, log_offset: events.length, ...fields })
    }
    let claims = 0
    for (const [index, { stored, own, foreign }] of runs.entries()) {
      for (const seq of stored) add(runId(index), seq)
      for (const [nth, { first, last }] of own.entries()) {
        const content = { first_run_seq: first, last_run_seq: last }
        add(runId(index), Math.max(...stored) + 1 + nth, { event_type: 'events_lost', content })
      }
      for (const { first, last } of foreign) {
        add(claimant, claims++, { event_type: 'events_lost', content: lostOf(runId(index), first, last) })
      }
    }
    const skipped = runs.flatMap(({ dead }, index) => dead.map((run_seq) => ({ run_id: runId(index), run_seq })))
    const trail = await tests.newTrail()
    await seedEvents(trail.server, events)
    await seedSkipped(
      trail.server,
      skipped.map((row, index) => ({ kind: 'dead', log_offset: events.length + index, ...row })),
    )
    const report = await completeness(trail)
    const found = new Map(report.runs.map((run): [string, RunReport] => [run.run_id, run]))
    for (const [index, run] of runs.entries()) {
      const { lost = [], claims: named = [], gaps = [], missing, claimed } = found.get(runId(index)) ?? NO_REPORT
      const expected = byHand(run)
      expect({ lost: listed(lost), claims: listed(named), gaps: listed(gaps) }, `seed ${seed}, run ${index}`).toEqual(
        expected,
      )
      expect([missing, claimed], `seed ${seed}, run ${index}`).toEqual([expected.gaps.length, expected.claims.length])
      for (const claim of named) {
        // The record that is named does claim these numbers.
        const row = events.find(({ log_offset }) => log_offset === claim.position?.offset)
        const numbers = listed([claim])
        if (claim.by === 'dead letter')
          expect(run.dead, `seed ${seed}, run ${index}`).toEqual(expect.arrayContaining(numbers))
        else
          expect(
            numbers.every((at) => covers([rangeIn(row)], at)),
            `seed ${seed}, run ${index}`,
          ).toBe(true)
      }
    }
  })
})

function rangeIn(row: SeedRow | undefined): Range {
  const content = row?.['content'] as { first_run_seq: number; last_run_seq: number } | undefined
  const { first_run_seq = 0, last_run_seq = -1 } = content ?? {}
  return { first: first_run_seq, last: last_run_seq }
}
