/** Detectors as jobs over a real store: each cause once, whatever is killed, late, or failing. */
import type { Analytics } from '@agent-audit/analytics'
import { Engine, type Session, type SessionDetector } from '@agent-audit/detect'
import { beforeAll, describe, expect, it } from 'vitest'
import { seedSkipped } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { causes, ERRORS, finding, HOURS, idAt, judgeAll, judgeOn, seed, SIZE } from './support.ts'

const ERROR = { event_type: 'error', error: 'boom' }

describe.skipIf(NO_CLICKHOUSE !== undefined)(`the engine ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('finds each cause once, and nothing when it is run again', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0, 1], { session_id: 'a' })
    await seed(trail.server, [2], { session_id: 'a', ...ERROR })
    await seed(trail.server, [0], { session_id: 'b', log_partition: 1, ...ERROR })
    const detectors = [ERRORS, SIZE, HOURS]
    expect(await judgeAll(trail, { detectors })).toBe(4)
    const found = [
      `test.errors a/${idAt(2)}`,
      `test.errors b/${idAt(0, 1)}`,
      'test.hours support/2026-11-24 10:00:00',
      'test.size a/3',
    ]
    expect(await causes(trail)).toEqual(found)
    expect(await judgeAll(trail, { detectors })).toBe(0)
    // One that knows no cursor finds the same causes, which are stored.
    await trail.command('TRUNCATE TABLE {database:Identifier}.audit_detector_cursors')
    expect(await judgeAll(trail, { detectors })).toBe(0)
    expect(await causes(trail)).toEqual(found)
  })

  it('asks once for the rows that detectors have in common, and judges them by each', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0, 1, 2], { session_id: 'a' })
    const asked: string[] = []
    const counting: Analytics = {
      ...trail,
      query: (sql, options) => {
        asked.push(sql)
        return trail.query(sql, options)
      },
    }
    const failing = {
      ...HOURS,
      name: 'test.failing',
      find: () => {
        throw new Error('broken')
      },
    }
    const other = { ...HOURS, name: 'test.other_sql', sql: `${HOURS.sql} LIMIT 1` }
    await judgeAll(counting, { detectors: [HOURS, failing, { ...HOURS, name: 'test.twin' }, other] })
    expect(asked.filter((sql) => sql === HOURS.sql)).toHaveLength(1)
    expect((await causes(trail)).map((each) => each.split(' ')[0])).toEqual([
      'detector.failed',
      'test.hours',
      'test.other_sql',
      'test.twin',
    ])
  })

  it('stores a cause once when two workers find it side by side', async () => {
    const trail = await tests.newTrail()
    await seed(
      trail.server,
      Array.from({ length: 60 }, (_, index) => index),
      { session_id: 'a', ...ERROR },
    )
    const both = [1, 2].map(() => new Engine(trail, { detectors: [ERRORS], windowOffsets: 7 }))
    const counts = await Promise.all(both.map(judgeOn))
    expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(60)
    expect(await causes(trail)).toHaveLength(60)
  })

  it('finds nothing twice when it is killed between the findings and its cursor', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0, 1, 2], { session_id: 'a', ...ERROR })
    const dying: Analytics = {
      ...trail,
      command: (statement, params) =>
        statement.includes('audit_detector_cursors')
          ? Promise.reject(new Error('killed'))
          : trail.command(statement, params),
    }
    await expect(judgeAll(dying, { detectors: [ERRORS] })).rejects.toThrow('killed')
    expect(await causes(trail)).toHaveLength(3)
    await seed(trail.server, [3], { session_id: 'b', ...ERROR })
    expect(await judgeAll(trail, { detectors: [ERRORS] })).toBe(1)
    expect(await causes(trail)).toHaveLength(4)
  })

  it('meets a spool that comes late: old times at new positions, in a session that was judged before', async () => {
    const trail = await tests.newTrail()
    const shown: Session[] = []
    const detectors: SessionDetector[] = [
      {
        ...ERRORS,
        find: (session, limits) => (shown.push(session), ERRORS.find(session, limits as { least: number })),
      },
    ]
    await seed(trail.server, [10, 11], { session_id: 'a' })
    await seed(trail.server, [12], { session_id: 'b', ...ERROR })
    await judgeAll(trail, { detectors })
    await seed(trail.server, [13], { session_id: 'a', timestamp: '2026-08-01 09:00:00', ...ERROR })
    await judgeAll(trail, { detectors })
    expect(shown.at(-1)?.events.map(({ event_id }) => event_id)).toEqual([idAt(13), idAt(10), idAt(11)])
    expect(await causes(trail)).toEqual([`test.errors a/${idAt(13)}`, `test.errors b/${idAt(12)}`])
  })

  it('stops at a gap, and goes on once it is filled', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0], { session_id: 'a', ...ERROR })
    await seed(trail.server, [3], { session_id: 'c', ...ERROR })
    const engine = new Engine(trail, { detectors: [ERRORS] })
    expect(await judgeOn(engine)).toBe(1)
    expect(await causes(trail)).toEqual([`test.errors a/${idAt(0)}`])
    await seedSkipped(trail.server, [{ log_offset: 1, kind: 'dead' }])
    await seed(trail.server, [2], { session_id: 'b', ...ERROR })
    expect(await judgeOn(engine)).toBe(2)
  })

  it('judges the last events of a session that is too long', async () => {
    const trail = await tests.newTrail()
    await seed(trail.server, [0, 1, 2, 3, 4, 5], { session_id: 'long' })
    await seed(trail.server, [6, 7, 8], { session_id: 'short' })
    await judgeAll(trail, { detectors: [SIZE], session: { events: 4, bytes: 2 ** 20 } })
    const rows = await trail.rows<{ cause: string; summary: string }>(
      'SELECT cause, summary FROM {database:Identifier}.audit_findings ORDER BY cause',
    )
    expect(rows).toEqual([
      { cause: 'long/4', summary: `from ${idAt(2)}` },
      { cause: 'short/3', summary: `from ${idAt(6)}` },
    ])
  })

  it('reads the sessions that a lowered limit asks for', async () => {
    const sized: SessionDetector = {
      ...SIZE,
      thresholds: { events: 3 },
      candidates: ({ events }) => `count() >= ${events}`,
    }
    for (const [events, expected] of [
      [3, []],
      [2, ['test.size s1/2']],
    ] as const) {
      const trail = await tests.newTrail()
      await seed(trail.server, [0, 1], { session_id: 's1' })
      await judgeAll(trail, { detectors: [sized], thresholds: { 'test.size': { events } } })
      expect(await causes(trail)).toEqual(expected)
    }
  })

  describe('a detector that fails', () => {
    const broken: SessionDetector = {
      ...SIZE,
      name: 'test.broken',
      candidates: 'true',
      find({ session_id }) {
        if (session_id.startsWith('bad')) throw new TypeError(`no such thing in ${session_id.length} letters`)
        return [finding({ cause: session_id })]
      },
    }
    const repaired: SessionDetector = { ...broken, find: ({ session_id }) => [finding({ cause: session_id })] }

    it('stops no other, is one finding, hides nothing behind it, and catches up once it is repaired', async () => {
      const trail = await tests.newTrail()
      await seed(trail.server, [0], { session_id: 'bad one', ...ERROR })
      await seed(trail.server, [1], { session_id: 'good' })
      const engine = new Engine(trail, { detectors: [broken, ERRORS] })
      await judgeOn(engine)
      await seed(trail.server, [2], { session_id: 'bad other one' })
      await seed(trail.server, [3], { session_id: 'good later' })
      await judgeOn(engine)
      const failed = expect.stringMatching(/^detector\.failed test\.broken@1\/[0-9a-f]{16}$/) as string
      const before = [failed, 'test.broken good', 'test.broken good later', `test.errors bad one/${idAt(0)}`]
      expect(await causes(trail)).toEqual(before)
      await judgeAll(trail, { detectors: [broken, ERRORS] })
      expect(await causes(trail)).toEqual(before)
      await judgeAll(trail, { detectors: [repaired, ERRORS] })
      expect(await causes(trail)).toEqual([
        failed,
        'test.broken bad one',
        'test.broken bad other one',
        'test.broken good',
        'test.broken good later',
        `test.errors bad one/${idAt(0)}`,
      ])
    })

    it.each([
      [
        'an expression that cannot be made',
        {
          ...SIZE,
          candidates: (): string => {
            throw new Error('no expression')
          },
        },
      ],
      ['an expression that is no SQL', { ...SIZE, candidates: 'nonsense(' }],
      ['an expression over a column that is not there', { ...SIZE, candidates: 'any(no_such_column) > 1' }],
      ['an expression that hides the rest of the query', { ...SIZE, candidates: 'true -- ' }],
      ['a query over a table that is not there', { ...HOURS, sql: 'SELECT 1 FROM {database:Identifier}.nothing' }],
      ['a query that writes', { ...HOURS, sql: 'TRUNCATE TABLE {database:Identifier}.audit_findings' }],
      ['a finding without a cause', { ...SIZE, find: () => [finding({ cause: '' })] }],
      ['a finding with evidence that is no event', { ...SIZE, find: () => [finding({ cause: 'a', evidence: ["'"] })] }],
    ])('for %s', async (name, detector) => {
      const trail = await tests.newTrail()
      await seed(trail.server, [0, 1, 2], { session_id: 'a', ...ERROR })
      const engine = new Engine(trail, { detectors: [detector, { ...ERRORS, name: 'test.other' }] })
      await judgeOn(engine)
      await judgeOn(engine)
      const found = (await causes(trail)).map((each) => each.split(' ')[0])
      const works = name.includes('hides') ? ['test.other', 'test.other', 'test.other', 'test.size'] : undefined
      expect(found).toEqual(works ?? ['detector.failed', 'test.other', 'test.other', 'test.other'])
    })
  })
})
