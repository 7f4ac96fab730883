/** What retention has dropped is expired where a note says so, and missing where none does; a note that says too much is found. */
import { completeness, type Completeness, type PartitionReport } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import { draw, takeSeed } from '../support/seed.ts'
import { run } from './completeness-support.ts'
import { LOG_ID, runId, type SeedRow, seedEvents, seedNotes, seedRunNotes, seedSkipped } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

interface Trail {
  readonly events?: readonly SeedRow[]
  readonly skipped?: readonly SeedRow[]
  readonly notes?: readonly SeedRow[]
  readonly runNotes?: readonly SeedRow[]
}

const JANUARY = { log_time: '2026-01-15 00:00:00' }
const offsets = (first_offset: number, last_offset: number, fields: SeedRow = {}): SeedRow => ({
  first_offset,
  last_offset,
  ...fields,
})
const numbers = (first_run_seq: number, last_run_seq: number, fields: SeedRow = {}): SeedRow => ({
  first_run_seq,
  last_run_seq,
  ...fields,
})

const KIND = fc.record({ retention_class: fc.constantFrom('default', 'pci'), month: fc.constantFrom(202601, 202602) })
/** Two neighbouring months: no note is late. */
const ROWS_AND_NOTES = fc.record({
  rows: fc.uniqueArray(fc.record({ offset: fc.nat(30), kind: KIND }), {
    selector: ({ offset }) => offset,
    minLength: 1,
    maxLength: 20,
  }),
  notes: fc.array(
    fc.record({ first: fc.nat(30), length: fc.nat(12), kind: KIND }).map(({ first, length, kind }) => ({
      first,
      last: first + length,
      kind,
    })),
    { maxLength: 5 },
  ),
})

/** The event 0 of a run, at an offset of its number. */
const firstOf = (number: number, fields: SeedRow): SeedRow => ({
  run_id: runId(number),
  run_seq: 0,
  log_offset: number,
  ...fields,
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`expiry notes ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  async function check({ events = [], skipped = [], notes = [], runNotes = [] }: Trail): Promise<Completeness> {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, events)
    await seedSkipped(trail.server, skipped)
    await seedNotes(trail.server, notes)
    await seedRunNotes(trail.server, runNotes)
    return completeness(trail)
  }

  it('explain a partition and a run that begin above 0', async () => {
    const report = await check({ events: run(5, 9), notes: [offsets(0, 4)], runNotes: [numbers(0, 2), numbers(3, 4)] })
    expect(report).toMatchObject({ verdict: 'complete', events: 5, expired: 5 })
    expect(report.partitions).toMatchObject([
      { first_offset: 0, last_offset: 9, events: 5, expired: 5, missing: 0, gaps: [], expiring: 0, overstated: 0 },
    ])
    expect(report.runs).toMatchObject([{ first_run_seq: 5, missing: 0, gaps: [], expired: 5, overstated: 0 }])
  })

  it('leave the rest of a gap missing', async () => {
    const events = [0, 1, 4, 7].map((at) => ({ run_seq: at, log_offset: at, ...JANUARY }))
    const report = await check({
      events,
      notes: [offsets(2, 3), offsets(10, 11)],
      runNotes: [numbers(2, 3), numbers(5, 5)],
    })
    expect(report.verdict).toBe('gaps')
    const gaps = [
      { first: 5, last: 6 },
      { first: 8, last: 9 },
    ]
    expect(report.partitions).toMatchObject([{ first_offset: 0, last_offset: 11, missing: 4, expired: 4, gaps }])
    expect(report.runs).toMatchObject([{ missing: 1, gaps: [{ first: 6, last: 6 }], expired: 3 }])
  })

  it('show a gap between what has expired and the first row', async () => {
    const report = await check({
      events: run(0, 1, {}).map((row, index) => ({ ...row, log_offset: 5 + index })),
      notes: [offsets(0, 2)],
    })
    expect(report.partitions).toMatchObject([{ missing: 2, gaps: [{ first: 3, last: 4 }], expired: 3 }])
  })

  it('account for a partition of which nothing is left', async () => {
    const report = await check({ notes: [offsets(0, 4), offsets(3, 9, { retention_class: 'default' })] })
    expect(report).toMatchObject({ verdict: 'complete', events: 0, expired: 10, runs: [] })
    expect(report.partitions).toMatchObject([
      { log_id: LOG_ID, topic: 'audit.events', partition: 0, first_offset: 0, last_offset: 9, expired: 10, missing: 0 },
    ])
  })

  it('are no fault while their rows are still there', async () => {
    const report = await check({
      events: run(0, 4, JANUARY),
      skipped: [{ kind: 'hole', log_offset: 5, ...JANUARY }],
      notes: [offsets(0, 5), offsets(2, 5)],
      runNotes: [numbers(0, 4)],
    })
    expect(report).toMatchObject({ verdict: 'complete', expired: 0 })
    expect(report.partitions).toMatchObject([{ expiring: 6, expired: 0, overstated: 0, missing: 0 }])
    expect(report.runs).toMatchObject([{ expired: 0, overstated: 0 }])
  })

  it.each<[string, SeedRow, readonly SeedRow[], number]>([
    ['rows of another class', { ...JANUARY, retention_class: 'pci' }, [offsets(0, 2)], 3],
    ['rows of another month', { log_time: '2026-02-15 00:00:00' }, [offsets(0, 2)], 3],
    ['what another class claims too', JANUARY, [offsets(10, 14), offsets(13, 15, { retention_class: 'pci' })], 2],
    ['offsets above rows that are two months younger', { log_time: '2026-03-01 00:00:00' }, [offsets(5, 8)], 4],
  ])('are overstated where they name %s', async (_what, row, notes, overstated) => {
    const report = await check({ events: run(0, 4, row), notes })
    expect(report.verdict).toBe('overstated')
    expect(report.partitions).toMatchObject([{ overstated }])
  })

  it('may end among rows of the next month: the clocks of two brokers differ', async () => {
    const report = await check({ events: run(0, 4, { log_time: '2026-02-01 00:00:00' }), notes: [offsets(5, 8)] })
    expect(report.verdict).toBe('complete')
  })

  it('of a run are overstated by an event of another class or an older month, not by one that was sent again', async () => {
    const report = await check({
      events: [
        firstOf(0, { ...JANUARY, retention_class: 'pci' }),
        firstOf(1, { log_time: '2025-12-31 00:00:00' }),
        firstOf(2, JANUARY),
        firstOf(3, { log_time: '2026-05-01 00:00:00' }),
      ],
      runNotes: [0, 1, 2, 3].map((number) => numbers(0, 3, { run_id: runId(number) })),
    })
    expect(report.verdict).toBe('overstated')
    const found = report.runs.map(({ run_id, overstated }) => [run_id, overstated])
    expect(Object.fromEntries(found)).toEqual({ [runId(0)]: 1, [runId(1)]: 1, [runId(2)]: 0, [runId(3)]: 0 })
  })

  it('keep what a dropped dead letter and a dropped events_lost event explained', async () => {
    const report = await check({
      events: run(6, 7).map((row, index) => ({ ...row, log_offset: index })),
      runNotes: [numbers(0, 2), numbers(3, 3, { kind: 'dead' }), numbers(4, 5, { kind: 'lost' })],
    })
    expect(report.verdict).toBe('claimed')
    const claims = [{ first: 3, last: 3, by: 'dead letter', by_run: null, position: null }]
    expect(report.runs).toMatchObject([{ expired: 3, claimed: 1, claims, lost: [{ first: 4, last: 5 }], missing: 0 }])
  })

  it('agree with a count by hand, whatever the rows and the notes', async () => {
    const seed = takeSeed('expiry notes')
    const drawn = draw(ROWS_AND_NOTES, 60, seed)
    const report = await check({
      events: drawn.flatMap(({ rows }, log_partition) =>
        rows.map(({ offset, kind }) => ({
          log_partition,
          log_offset: offset,
          retention_class: kind.retention_class,
          log_time: kind.month === 202601 ? '2026-01-10 00:00:00' : '2026-02-10 00:00:00',
        })),
      ),
      notes: drawn.flatMap(({ notes }, log_partition) =>
        notes.map(({ first, last, kind }) => ({ log_partition, ...offsets(first, last), ...kind })),
      ),
    })
    expect(report.partitions, `seed ${seed}`).toMatchObject(drawn.map(countByHand))
    for (const { gaps, missing } of report.partitions) {
      expect(
        gaps.reduce((sum, gap) => sum + gap.last - gap.first + 1, 0),
        `seed ${seed}`,
      ).toBe(missing)
    }
  })
})

interface Kind {
  readonly retention_class: string
  readonly month: number
}

interface RowsAndNotes {
  readonly rows: readonly { readonly offset: number; readonly kind: Kind }[]
  readonly notes: readonly { readonly first: number; readonly last: number; readonly kind: Kind }[]
}

function nameOf({ retention_class, month }: Kind): string {
  return `${retention_class} ${month}`
}

/** What the report has to say of a partition, offset by offset. */
function countByHand({ rows, notes }: RowsAndNotes, partition: number): Partial<PartitionReport> {
  const stored = new Map(rows.map(({ offset, kind }) => [offset, nameOf(kind)]))
  const claims = new Map<number, Set<string>>()
  for (const { first, last, kind } of notes) {
    for (let offset = first; offset <= last; offset++) {
      claims.set(offset, (claims.get(offset) ?? new Set()).add(nameOf(kind)))
    }
  }
  const used = [...new Set([...stored.keys(), ...claims.keys()])].toSorted((a, b) => a - b)
  const [first_offset, last_offset] = [used[0] ?? 0, used.at(-1) ?? 0]
  const there = [...claims].filter(([offset]) => stored.has(offset))
  const expiring = there.filter(([offset, names]) => names.has(stored.get(offset) ?? '')).length
  const twice = [...claims.values()].reduce((sum, names) => sum + names.size - 1, 0)
  return {
    partition,
    first_offset,
    last_offset,
    expired: claims.size - there.length,
    expiring,
    overstated: there.length - expiring + twice,
    missing: last_offset - first_offset + 1 - used.length,
  }
}
