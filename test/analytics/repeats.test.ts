/** The check of completeness finds exactly the repeated rows, and distinguishes a copy from an altered row. */
import { completeness, type Completeness } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkNewTrail, run } from './completeness-support.ts'
import { LOG_ID, runId, type SeedRow, seedEvents } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

describe.skipIf(NO_CLICKHOUSE !== undefined)(`repeats ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  const check = (events: readonly SeedRow[], skipped?: readonly SeedRow[]): Promise<Completeness> =>
    checkNewTrail(tests, events, skipped)

  it('an offset in both tables, or twice in one, is repeated', async () => {
    const events = [...run(0, 4), { run_seq: 5, log_offset: 2 }]
    const report = await check(events, [
      { kind: 'hole', log_offset: 4 },
      { kind: 'hole', log_offset: 5 },
      { kind: 'hole', log_offset: 5 },
      { kind: 'hole', log_offset: 5 },
    ])
    expect(report.verdict).toBe('repeated')
    expect(report.partitions[0]).toMatchObject({
      repeated: 4,
      missing: 0,
      repeats: [
        { offset: 2, times: 2, altered: true },
        { offset: 4, times: 2, altered: true },
        { offset: 5, times: 3, altered: false },
      ],
    })
  })

  it('a repeat does not hide a gap of the same size', async () => {
    // Four rows from 0 to 3: the count alone finds nothing wrong.
    const report = await check([0, 1, 1, 3].map((offset, index) => ({ run_seq: index, log_offset: offset })))
    expect(report.partitions[0]).toMatchObject({ missing: 1, repeated: 1, gaps: [{ first: 2, last: 2 }] })
  })

  it('names where the copies of a repeated event lie', async () => {
    const report = await check([
      ...run(0, 3),
      { run_seq: 2, log_offset: 4 },
      { run_seq: 2, log_offset: 0, log_partition: 5 },
    ])
    expect(report.verdict).toBe('repeated')
    expect(report.partitions.every(({ repeated }) => repeated === 0)).toBe(true)
    expect(report.runs[0]).toMatchObject({
      repeated: 2,
      repeats: [
        {
          run_seq: 2,
          times: 3,
          altered: true,
          positions: [
            { log_id: LOG_ID, partition: 0, offset: 2 },
            { log_id: LOG_ID, partition: 0, offset: 4 },
            { log_id: LOG_ID, partition: 5, offset: 0 },
          ],
        },
      ],
    })
  })

  it('distinguishes a copy from an altered row: same run_seq, same or different content', async () => {
    const [same, other] = ['01900000-0000-7000-8000-0000000000aa', '01900000-0000-7000-8000-0000000000bb']
    const copies = [0, 1].flatMap((seq) => [
      { run_seq: seq, session_seq: 0, event_id: same, log_offset: seq, reasoning: 'as it was' },
      {
        run_seq: seq,
        session_seq: 0,
        event_id: seq === 0 ? same : other,
        log_offset: 2 + seq,
        reasoning: seq === 0 ? 'as it was' : 'changed',
      },
    ])
    const report = await check(copies)
    expect(report.verdict).toBe('repeated')
    expect(report.runs[0]?.repeats).toMatchObject([
      { run_seq: 0, times: 2, altered: false },
      { run_seq: 1, times: 2, altered: true },
    ])
  })

  it('a duplicate fills no number: its first copy must be stored', async () => {
    const report = await check(
      [...run(0, 0), { run_seq: 2, log_offset: 2 }],
      [{ kind: 'duplicate', log_offset: 1, run_id: runId(1), run_seq: 1 }],
    )
    expect(report).toMatchObject({ verdict: 'gaps', runs: [{ state: 'open', gaps: [{ first: 1, last: 1 }] }] })
  })

  it('names findings in thousands of runs and at thousands of offsets', async () => {
    const once = Array.from({ length: 7500 }, (_, index) => ({
      run_id: runId(index + 1),
      run_seq: 1,
      log_offset: index,
    }))
    const trail = await tests.newTrail()
    await seedEvents(trail.server, [...once, ...once.map((row) => ({ ...row, agent_id: 'another' }))])
    const { partitions, runs } = await completeness(trail, { maxFindings: 20_000 })
    expect(partitions[0]?.repeats.filter(({ altered }) => altered)).toHaveLength(7500)
    const named = runs.filter(({ gaps, repeats }) => gaps.length === 1 && repeats.some(({ altered }) => altered))
    expect([runs.length, named.length]).toEqual([7500, 5000])
  })
})
