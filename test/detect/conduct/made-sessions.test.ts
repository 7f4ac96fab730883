import { expect, it } from 'vitest'
import { conductPart, judgeSessions, makeSessions, TUNED_ON } from '../../../judge/conduct/part.ts'
import { mistakesOf, targetsOf } from '../../../judge/conduct/score.ts'
import { judgeAgents, makeAgents } from '../../../judge/conduct/stored.ts'
import { NO_CLICKHOUSE } from '../../analytics/support.ts'

const SEED = 20_261_129

it(`made sessions: each detector meets its targets, and a seed makes the same sessions again (seed ${SEED})`, () => {
  const made = makeSessions(SEED)
  expect(makeSessions(SEED)).toEqual(made)
  const targets = targetsOf(judgeSessions(made))
  expect(targets).toHaveLength(30)
  expect(targets.filter(({ met }) => !met)).toEqual([])
})

it.skipIf(NO_CLICKHOUSE !== undefined)(
  `made agents in a real store: all that is strong is found, and no look-alike is accused (seed ${SEED}) ${NO_CLICKHOUSE ?? ''}`,
  async () => {
    const made = makeAgents(SEED).filter((_, index) => index % 4 === 0)
    const cases = await judgeAgents(made)
    expect(cases.filter(({ found }) => found.size > 0).length).toBeGreaterThan(50)
    expect(mistakesOf(cases).filter((line) => !line.includes('(mild)'))).toEqual([])
  },
)

it('the seeds that limits were tuned on are not reported', async () => {
  for (const seed of TUNED_ON) expect(await conductPart.run({ seed })).toContain('tuned on')
})
