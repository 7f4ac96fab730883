/** The check of completeness finds exactly the repeated rows, and distinguishes a copy from an altered row. */
import { completeness, type Completeness } from '@agent-audit/analytics'
import { reframeToConfluent } from '@agent-audit/schemas'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkNewTrail, duplicateOf, run } from './completeness-support.ts'
import { LOG_ID, runId, type SeedRow, seedEvents, seedNotes, seedRunNotes, seedSkipped } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

function confluent(row: SeedRow): SeedRow {
  const value = Buffer.from(String(row['value']), 'hex')
  return { ...row, value: reframeToConfluent(value, 7).toString('hex') }
}

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
    const report = await check([...run(0, 0), { run_seq: 2, log_offset: 2 }], [duplicateOf({ run_seq: 1 }, 1)])
    expect(report.partitions[0]?.conflicting).toMatchObject([{ run_seq: 1, found: 'not stored' }])
    expect(report).toMatchObject({ verdict: 'conflict', runs: [{ state: 'open', gaps: [{ first: 1, last: 1 }] }] })
  })

  it('a duplicate is compared with the stored record in every framing; the bytes of another record are a conflict', async () => {
    const event = { run_seq: 0, log_offset: 0 }
    const forged = { event_id: '01900000-0000-7000-8000-000000000000', reasoning: 'FORGED' }
    const [report, tail] = [
      await check([event], [duplicateOf(event, 1), confluent(duplicateOf(event, 2))]),
      await check(
        [event],
        [duplicateOf(event, 1), duplicateOf(event, 2, forged), confluent(duplicateOf(event, 3, forged))],
      ),
    ]
    expect(report).toMatchObject({ verdict: 'complete', partitions: [{ duplicates: 2, conflicts: 0, uncompared: 0 }] })
    expect(tail).toMatchObject({ verdict: 'conflict', partitions: [{ duplicates: 3, conflicts: 2, uncompared: 0 }] })
    expect(tail.partitions[0]?.conflicting).toEqual(
      [2, 3].map((offset) => ({ run_id: runId(1), run_seq: 0, offset, stored_offset: 0, found: 'other record' })),
    )
  })

  it('a duplicate without its bytes is a conflict: nothing shows what it was', async () => {
    const event = { run_seq: 0, log_offset: 0 }
    const report = await check(
      [event],
      [
        { ...duplicateOf(event, 1), value: null },
        { ...duplicateOf(event, 2), value: 'c301' },
      ],
    )
    expect(report.verdict).toBe('conflict')
    expect(report.partitions[0]?.conflicting.map(({ found }) => found)).toEqual(['bytes lost', 'bytes lost'])
  })

  it('a duplicate of an expired event cannot be compared: it is counted, and is no fault', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, [{ run_seq: 2, log_offset: 2 }])
    await seedSkipped(trail.server, [duplicateOf({ run_seq: 1 }, 3)])
    await seedNotes(trail.server, [{ first_offset: 0, last_offset: 1 }])
    await seedRunNotes(trail.server, [{ first_run_seq: 0, last_run_seq: 1 }])
    expect(await completeness(trail)).toMatchObject({
      verdict: 'complete',
      partitions: [{ duplicates: 1, conflicts: 0, conflicting: [], uncompared: 1 }],
    })
  })

  it(
    'as many duplicates as the window of a killed producer holds are compared, and each conflict among them is counted',
    { timeout: 120_000 },
    async () => {
      const [trail, count] = [await tests.newTrail(), 45_000]
      await seedEvents(
        trail.server,
        Array.from({ length: count }, (_, index) => ({ log_offset: index })),
      )
      const forged = new Set([0, 19_999, 20_000, 44_999])
      const duplicates = Array.from({ length: count }, (_, index) =>
        duplicateOf({ run_seq: index }, count + index, forged.has(index) ? { agent_id: 'forged' } : {}),
      )
      await seedSkipped(trail.server, duplicates)
      const report = await completeness(trail, { maxFindings: 3 })
      expect(report).toMatchObject({
        verdict: 'conflict',
        truncated: true,
        partitions: [{ conflicts: 4, uncompared: 0 }],
      })
      expect(report.partitions[0]?.conflicting.map(({ run_seq }) => run_seq)).toEqual([0, 19_999, 20_000])
    },
  )

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
