/** The check of completeness finds exactly the missing offsets and numbers. */
import { completeness, type Completeness, type RecordPosition } from '@agent-audit/analytics'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { draw, takeSeed } from '../support/seed.ts'
import { checkNewTrail, duplicateOf, lostOf, run } from './completeness-support.ts'
import { execute, LOG_ID, runId, type SeedRow, seedEvents } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

/** A log_time in the past. */
function ago(seconds: number): string {
  return new Date(Date.now() - seconds * 1000).toISOString().replace('T', ' ').replace('Z', '')
}

/** Numbers 0, 1 and 3 in partition 0; partition 1 was read up to some time, its last record of another run. */
function history(at: number, readTo: number, inOther: readonly SeedRow[] = []): SeedRow[] {
  return [
    ...[0, 1, 3].map((seq, index) => ({ run_seq: seq, log_offset: index, log_time: ago(at) })),
    { run_id: runId(2), run_seq: 0, log_offset: 0, log_partition: 1, log_time: ago(readTo) },
    ...inOther.map((row) => ({ log_offset: 1, log_partition: 1, log_time: ago(readTo), ...row })),
  ]
}

/** A position in partition 0 of the seeded log. */
const shownAt = (offset: number): RecordPosition => ({ log_id: LOG_ID, partition: 0, offset })

describe.skipIf(NO_CLICKHOUSE !== undefined)(`completeness ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  const check = (events: readonly SeedRow[], skipped?: readonly SeedRow[]): Promise<Completeness> =>
    checkNewTrail(tests, events, skipped)

  it('an empty trail is complete', async () => {
    expect(await check([])).toMatchObject({ verdict: 'complete', events: 0, partitions: [], runs: [] })
  })

  it('a closed run and its partition, with every offset accounted for, are complete', async () => {
    const events = [...run(0, 2), { run_seq: 3, log_offset: 6, event_type: 'trail_stopped', session_id: 'trail:1' }]
    const report = await check(events, [
      duplicateOf({ run_seq: 0, log_offset: 0 }, 3),
      { kind: 'dead', log_offset: 4 },
      { kind: 'hole', log_offset: 5 },
    ])
    expect(report).toEqual({
      verdict: 'complete',
      events: 4,
      skipped: { duplicate: 1, dead: 1, hole: 1 },
      expired: 0,
      quarantined: 0,
      partitions: [
        {
          log_id: LOG_ID,
          topic: 'audit.events',
          source_id: 'seed-cluster',
          partition: 0,
          first_offset: 0,
          last_offset: 6,
          events: 4,
          duplicates: 1,
          dead_letters: 1,
          holes: 1,
          conflicts: 0,
          conflicting: [],
          uncompared: 0,
          missing: 0,
          expired: 0,
          expiring: 0,
          overstated: 0,
          repeated: 0,
          gaps: [],
          repeats: [],
        },
      ],
      runs: [
        {
          run_id: runId(1),
          producer_id: 'seed',
          state: 'closed',
          first_run_seq: 0,
          last_run_seq: 3,
          events: 4,
          missing: 0,
          expired: 0,
          overstated: 0,
          repeated: 0,
          claimed: 0,
          gaps: [],
          lost: [],
          claims: [],
          pending: [],
          repeats: [],
        },
      ],
      dead_letters: [expect.objectContaining({ position: `${LOG_ID}/0/4`, reason: 'seeded', replayed_as: null })],
      truncated: false,
    })
  })

  it('names the gaps of a partition by their exact offsets, and begins at its first offset', async () => {
    const events = [10, 11, 13, 14, 20].map((offset, index) => ({ run_seq: index, log_offset: offset }))
    const report = await check(events)
    expect(report.verdict).toBe('gaps')
    expect(report.partitions[0]).toMatchObject({
      first_offset: 10,
      last_offset: 20,
      missing: 6,
      gaps: [
        { first: 12, last: 12 },
        { first: 15, last: 19 },
      ],
    })
    expect(report.runs[0]).toMatchObject({ missing: 0, gaps: [] })
  })

  it('partitions and logs are kept apart', async () => {
    const other = 'ffffffffffffffff'
    const report = await check([
      { run_seq: 0, log_offset: 0 },
      { run_seq: 1, log_offset: 1 },
      { run_seq: 2, log_offset: 0, log_partition: 1 },
      { run_seq: 3, log_offset: 2, log_partition: 1 },
      { run_seq: 4, log_offset: 1, log_id: other },
    ])
    expect(report.partitions.map((each) => [each.log_id, each.topic, each.partition, each.gaps])).toEqual([
      [LOG_ID, 'audit.events', 0, []],
      [LOG_ID, 'audit.events', 1, [{ first: 1, last: 1 }]],
      [other, null, 0, []],
    ])
  })

  it('a run begins at 0: numbers missing before its first event are a gap too', async () => {
    const report = await check([2, 3, 7].map((sequence, index) => ({ run_seq: sequence, log_offset: index })))
    expect(report.verdict).toBe('gaps')
    expect(report.runs[0]).toMatchObject({
      first_run_seq: 2,
      last_run_seq: 7,
      missing: 5,
      gaps: [
        { first: 0, last: 1, shown_by: shownAt(0) },
        { first: 4, last: 6, shown_by: shownAt(2) },
      ],
    })
  })

  describe('a number that is not there while a partition of the log lags', () => {
    it('is pending and no gap', async () => {
      expect(await check(history(20, 40))).toMatchObject({
        verdict: 'complete',
        runs: expect.arrayContaining([
          expect.objectContaining({
            run_id: runId(1),
            missing: 0,
            gaps: [],
            pending: [{ first: 2, last: 2, shown_by: shownAt(2) }],
          }),
        ]),
      })
    })

    it.each([
      ['every partition has been read beyond it', history(200, 20)],
      ['it was long ago', history(4000, 5000)],
      ['every partition has a higher number of the run', history(20, 40, [{ run_seq: 4 }])],
    ])('is a gap when %s', async (_, events) => {
      const report = await check(events)
      expect(report.verdict).toBe('gaps')
      expect(report.runs.find(({ run_id: id }) => id === runId(1))).toMatchObject({
        gaps: [{ first: 2, last: 2, shown_by: shownAt(2) }],
        pending: [],
      })
    })
  })

  it('pairs a dead letter with the event it was replayed as', async () => {
    const dead = { kind: 'dead', log_offset: 1, run_id: runId(1), run_seq: 1 }
    const replay = { run_id: runId(7), run_seq: 0, log_offset: 3, replay_of: `${LOG_ID}/0/1` }
    const report = await check([...run(0, 0), { run_seq: 2, log_offset: 2 }, replay], [dead])
    // Any producer can send such an event, so the number is still claimed only.
    expect(report).toMatchObject({
      verdict: 'claimed',
      dead_letters: [{ partition: 0, offset: 1, replayed_as: { log_id: LOG_ID, partition: 0, offset: 3 } }],
    })
  })

  it('an events_lost event explains the numbers it names, and no others', async () => {
    const lost = { event_type: 'events_lost', reason: 'buffer full', session_id: 'trail:1' }
    const report = await check([
      ...run(0, 1),
      { run_seq: 10, log_offset: 2, ...lost, content: { first_run_seq: 3, last_run_seq: 5, count: 3 } },
      { run_seq: 11, log_offset: 3, ...lost, content: { first_run_seq: 5, last_run_seq: 7, count: 3 } },
      {
        run_id: runId(2),
        run_seq: 1,
        log_offset: 4,
        ...lost,
        content: { first_run_seq: 9, last_run_seq: 9, count: 1 },
      },
    ])
    expect(report.verdict).toBe('gaps')
    expect(report.runs.find(({ run_id: id }) => id === runId(1))).toMatchObject({
      missing: 3,
      gaps: [
        { first: 2, last: 2, shown_by: shownAt(2) },
        { first: 8, last: 9, shown_by: shownAt(2) },
      ],
      lost: [{ first: 3, last: 7 }],
    })
    expect(report.runs.find(({ run_id: id }) => id === runId(2))).toMatchObject({ gaps: [{ first: 0, last: 0 }] })
  })

  it('a fully explained gap is no gap', async () => {
    const content = { first_run_seq: 2, last_run_seq: 4, count: 3 }
    const report = await check([...run(0, 1), { run_seq: 5, log_offset: 2, event_type: 'events_lost', content }])
    expect(report).toMatchObject({
      verdict: 'complete',
      runs: [{ missing: 0, gaps: [], lost: [{ first: 2, last: 4 }] }],
    })
  })

  it('what an events_lost event of another run says is claimed, with the position of that event, and closes no gap in silence', async () => {
    const claim = { event_type: 'events_lost', run_id: runId(2) }
    const report = await check([
      ...run(0, 1),
      { run_seq: 9, log_offset: 2 },
      { ...claim, run_seq: 0, log_offset: 3, content: lostOf(runId(1), 0, Number.MAX_SAFE_INTEGER) },
      { ...claim, run_id: runId(1), run_seq: 10, log_offset: 4, content: lostOf(runId(1), 4, 5) },
    ])
    const by = { by: 'events_lost', by_run: runId(2), position: shownAt(3) }
    expect(report.verdict).toBe('claimed')
    expect(report.runs.find(({ run_id: id }) => id === runId(1))).toMatchObject({
      missing: 0,
      claimed: 5,
      gaps: [],
      lost: [{ first: 4, last: 5 }],
      claims: [
        { first: 2, last: 3, ...by },
        { first: 6, last: 8, ...by },
      ],
    })
  })

  it('a record far ahead of a run keeps its gap pending for an hour, whatever follows, and is named', async () => {
    const far = Number.MAX_SAFE_INTEGER
    const first = { run_seq: far, log_offset: 3, log_time: ago(4000) }
    const again = { run_seq: 900, log_offset: 4, log_time: ago(20) }
    const events = history(4500, 40)
    const report = await check([...events, first, again])
    expect(report.verdict).toBe('gaps')
    expect(report.runs.find(({ run_id: id }) => id === runId(1))).toMatchObject({
      pending: [],
      gaps: [
        { first: 2, last: 2, shown_by: shownAt(2) },
        { first: 4, last: 899, shown_by: shownAt(4) },
        { first: 901, last: far - 1, shown_by: shownAt(3) },
      ],
    })
  })

  it('a dead letter explains its number, as a claim, also when it is there twice, and does not extend the run', async () => {
    const dead = { kind: 'dead', run_id: runId(1) }
    const report = await check(
      [...run(0, 1), { run_seq: 3, log_offset: 3 }],
      [
        { ...dead, log_offset: 2, run_seq: 2 },
        { ...dead, log_offset: 4, run_seq: 2 },
        { ...dead, log_offset: 5, run_seq: 1 },
        { ...dead, log_offset: 6, run_seq: 900 },
        { kind: 'dead', log_offset: 7, run_id: runId(99), run_seq: 5 },
        { kind: 'dead', log_offset: 8 },
      ],
    )
    expect(report).toMatchObject({ verdict: 'claimed', skipped: { dead: 6 } })
    const claims = [{ first: 2, last: 2, by: 'dead letter', by_run: null, position: shownAt(2) }]
    const none = { missing: 0, repeated: 0, repeats: [], gaps: [] }
    expect(report.runs).toMatchObject([{ run_id: runId(1), last_run_seq: 3, claimed: 1, claims, ...none }])
  })

  it('says when it names only a part of the findings; the counts stay exact', async () => {
    const trail = await tests.newTrail()
    await seedEvents(
      trail.server,
      [0, 2, 4, 6].map((offset, index) => ({ run_seq: index, log_offset: offset })),
    )
    const report = await completeness(trail, { maxFindings: 2 })
    expect(report.truncated).toBe(true)
    expect(report.partitions[0]).toMatchObject({ missing: 3, gaps: [{ first: 1 }, { first: 3 }] })
  })

  it('agrees with a plain count over random histories', async () => {
    const seed = takeSeed('random histories')
    const offsets = draw(fc.noBias(fc.nat({ max: 299 })), 400, seed).toSorted((a, b) => a - b)
    const report = await check(offsets.map((offset, index) => ({ run_seq: index, log_offset: offset })))
    const there = new Set(offsets)
    const [first = 0, last = 0] = [offsets[0], offsets.at(-1)]
    const missing = Array.from({ length: last - first + 1 }, (_, index) => first + index).filter((at) => !there.has(at))
    const named = report.partitions[0]?.gaps.flatMap((gap) =>
      Array.from({ length: gap.last - gap.first + 1 }, (_, index) => gap.first + index),
    )
    expect(named, `seed ${seed}`).toEqual(missing)
    expect(report.partitions[0], `seed ${seed}`).toMatchObject({
      missing: missing.length,
      repeated: offsets.length - there.size,
    })
    expect(report.runs[0]?.missing).toBe(0)
  })

  it('shows that an admin removed a row', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, run(0, 9))
    expect((await completeness(trail)).verdict).toBe('complete')
    await execute(trail.server, `ALTER TABLE ${EVENTS_TABLE} DELETE WHERE run_seq = 4`, { mutations_sync: '1' })
    const report = await completeness(trail)
    expect(report).toMatchObject({
      verdict: 'gaps',
      partitions: [{ missing: 1 }],
      runs: [{ gaps: [{ first: 4, last: 4 }] }],
    })
  })
})
