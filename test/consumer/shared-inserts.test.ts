/** What becomes of pieces that several partitions hand over at once. The sink is scripted: each insert takes the next answer. */
import {
  type Insert,
  type InsertAnswer,
  insertMark,
  type LogPartition,
  type Outcome,
  Pace,
  type Piece,
  SharedInserts,
  type Sink,
} from '@agent-audit/consumer/pipeline'
import { expect, it } from 'vitest'

const BAD: InsertAnswer = { kind: 'bad-data', reason: 'scripted' }
const REFUSED: InsertAnswer = { kind: 'refused', reason: 'scripted' }
const UNCLEAR: InsertAnswer = { kind: 'unclear', reason: 'scripted' }
const STORED: InsertAnswer = { kind: 'stored' }
const LEASE_MS = 20_000
const NOTHING = (): void => undefined
const LIMITS = { maxEvents: 100, maxBytes: 1000 }

interface Handed {
  readonly at: LogPartition
  readonly outcome: Promise<Outcome>
  readonly epoch: AbortController
  readonly drain: AbortController
  /** Answers to the inserts that left it out. */
  readonly told: InsertAnswer[]
}

interface Given {
  readonly partition: number
  readonly log?: number
  readonly rows?: number
  readonly class?: string
  readonly table?: Piece['table']
  /** F of the lease at each time that it is held; an error: it is lost. */
  readonly fencedAt?: (number | Error)[]
  readonly alone?: boolean
  readonly onHold?: () => void
}

class Bench {
  readonly inserts: Insert[] = []
  readonly slept: number[] = []
  /** Called at the start of each wait. */
  onSleep: (ms: number) => void = NOTHING
  readonly #inserts: SharedInserts

  constructor(
    partitions: number,
    answer: (insert: Insert, sent: number) => InsertAnswer = () => STORED,
    limits = LIMITS,
  ) {
    const sink = {
      insert: async (insert: Insert) => answer(insert, this.inserts.push(insert)),
    } as unknown as Sink
    const clock = {
      now: () => 0,
      wallMs: () => 0,
      sleep: async (ms: number) => {
        this.slept.push(ms)
        this.onSleep(ms)
        await new Promise((resolve) => setImmediate(resolve))
      },
    }
    this.#inserts = new SharedInserts({ sink, clock, pace: new Pace(500), limits, inserted: NOTHING })
    for (let count = 0; count < partitions; count++) void this.#inserts.during(() => new Promise(() => undefined))
  }

  hand(given: Given): Handed {
    const at = { logId: Buffer.alloc(8, given.log ?? 0), topic: 'events', partition: given.partition }
    const [epoch, drain] = [new AbortController(), new AbortController()]
    const leases = [...(given.fencedAt ?? [1000])]
    const told: InsertAnswer[] = []
    const count = given.rows ?? 1
    const data = Buffer.from(`<${given.log ?? 0}/${given.partition}>`)
    const outcome = this.#inserts.insert({
      logPartition: at,
      table: given.table ?? 'audit_events',
      tablePartition: given.class ?? 'default 2026-2',
      rows: { count, bytes: data.length, data: [data] },
      alone: given.alone ?? false,
      hold: async () => {
        given.onHold?.()
        const fencedAt = (leases.length > 1 ? leases.shift() : leases[0]) ?? 0
        if (fencedAt instanceof Error) throw fencedAt
        return { fencedAt, deadline: fencedAt + LEASE_MS }
      },
      ended: epoch.signal,
      draining: drain.signal,
      notInserted: (answer) => told.push(answer),
    })
    return { at, outcome, epoch, drain, told }
  }

  /** The pieces of each insert, in the order of its block. */
  get blocks(): string[][] {
    return this.inserts.map(({ body }) => body.slice(1, -1).map(String))
  }
}

const outcomes = (pieces: readonly Handed[]): Promise<string[]> =>
  Promise.all(pieces.map(async ({ outcome }) => (await outcome).kind))

it('stores what several partitions hand over in one block, in order, under the earliest lease, and names all of them', async () => {
  const bench = new Bench(4)
  const pieces = [
    bench.hand({ partition: 11, fencedAt: [3000] }),
    bench.hand({ partition: 0, log: 1, fencedAt: [1000] }),
    bench.hand({ partition: 1, fencedAt: [2000] }),
  ]
  expect(await outcomes(pieces)).toEqual(['stored', 'stored', 'stored'])
  expect(bench.blocks).toEqual([['<0/1>', '<0/11>', '<1/0>']])
  expect(bench.inserts[0]).toMatchObject({ fencedAt: 1000, deadline: 1000 + LEASE_MS })
  const marks = pieces.map(({ at }) => insertMark(at))
  for (const mark of marks) expect(bench.inserts[0]?.queryId).toContain(mark)
  expect(bench.inserts[0]?.queryId).not.toContain(insertMark({ logId: Buffer.alloc(8, 1), topic: '', partition: 1 }))
})

it('does not wait once every partition is there, nor for a piece that pays for its own insert', async () => {
  const bench = new Bench(2)
  expect(await outcomes([bench.hand({ partition: 0, rows: 25 })])).toEqual(['stored'])
  expect(await outcomes([bench.hand({ partition: 0, alone: true })])).toEqual(['stored'])
  expect(bench.slept).toEqual([])
  bench.onSleep = () => expect(bench.inserts).toHaveLength(2)
  expect(await outcomes([0, 1].map((partition) => bench.hand({ partition })))).toEqual(['stored', 'stored'])
  expect(bench.blocks).toEqual([['<0/0>'], ['<0/0>'], ['<0/0>', '<0/1>']])
})

it('names no more partitions in a query id than the URL and the head of the answer can hold behind a proxy', async () => {
  const bench = new Bench(1000, () => STORED, { maxEvents: 50_000, maxBytes: 2 ** 24 })
  const pieces = Array.from({ length: 200 }, (_, index) => bench.hand({ partition: 99_000 + index, log: index }))
  expect(new Set(await outcomes(pieces))).toEqual(new Set(['stored']))
  expect(bench.blocks.flat()).toHaveLength(200)
  // nginx takes 4 KB of head, of which ClickHouse itself fills 0.8.
  for (const { queryId } of bench.inserts) expect(queryId.length).toBeLessThan(2500)
})

it('makes one part of each insert: tables, classes and months have inserts of their own', async () => {
  const bench = new Bench(9)
  const pieces = [
    bench.hand({ partition: 0 }),
    bench.hand({ partition: 1, class: 'pci 2026-2' }),
    bench.hand({ partition: 2, table: 'audit_skipped' }),
    bench.hand({ partition: 3 }),
    bench.hand({ partition: 4, class: 'default 2026-3' }),
  ]
  expect(await outcomes(pieces)).toEqual(pieces.map(() => 'stored'))
  expect(bench.blocks).toEqual([['<0/0>', '<0/3>'], ['<0/1>'], ['<0/2>'], ['<0/4>']])
})

it('is unclear for every partition when the insert is', async () => {
  const bench = new Bench(2, () => UNCLEAR)
  const pieces = [0, 1].map((partition) => bench.hand({ partition }))
  expect(await outcomes(pieces)).toEqual(['unclear', 'unclear'])
  expect(bench.inserts).toHaveLength(1)
  expect(pieces.map(({ told }) => told)).toEqual([[UNCLEAR], [UNCLEAR]])
})

it('sends a refused insert again after a pause, as a whole, under the same token and the leases of then', async () => {
  const bench = new Bench(2, (_, sent) => (sent < 3 ? REFUSED : STORED))
  const pieces = [
    bench.hand({ partition: 0, fencedAt: [1000, 1000, 9000] }),
    bench.hand({ partition: 1, fencedAt: [2000] }),
  ]
  expect(await outcomes(pieces)).toEqual(['stored', 'stored'])
  expect(bench.blocks).toEqual([1, 2, 3].map(() => ['<0/0>', '<0/1>']))
  expect(bench.slept.filter((ms) => ms > 200)).toEqual([250, 500])
  expect(new Set(bench.inserts.map(({ token }) => token)).size).toBe(1)
  expect(new Set(bench.inserts.map(({ queryId }) => queryId)).size).toBe(3)
  expect(bench.inserts.map(({ fencedAt }) => fencedAt)).toEqual([1000, 1000, 2000])
})

it('leaves a partition that drains out of the next send of a refused insert', async () => {
  const bench = new Bench(2, (_, sent) => (sent === 1 ? REFUSED : STORED))
  const [drains, stays] = [0, 1].map((partition) => bench.hand({ partition })) as [Handed, Handed]
  bench.onSleep = (ms) => void (ms === 250 && drains.drain.abort())
  expect(await outcomes([drains, stays])).toEqual(['stopped', 'stored'])
  expect(bench.blocks).toEqual([['<0/0>', '<0/1>'], ['<0/1>']])
})

it('does not send a piece whose epoch has ended while it waited, and stores the others', async () => {
  const bench = new Bench(3)
  const lost = bench.hand({ partition: 0 })
  // The lease of the other one has to be renewed meanwhile.
  const kept = bench.hand({ partition: 1, onHold: () => lost.epoch.abort() })
  expect(await outcomes([lost, kept])).toEqual(['stopped', 'stored'])
  expect(bench.blocks).toEqual([['<0/1>']])
})

it('leaves out a piece that gets no lease, and tells its writer why', async () => {
  const bench = new Bench(2)
  const lost = bench.hand({ partition: 0, fencedAt: [new Error('the group refused the commit')] })
  const kept = bench.hand({ partition: 1 })
  await expect(lost.outcome).rejects.toThrow('refused the commit')
  expect(await outcomes([kept])).toEqual(['stored'])
  expect(bench.blocks).toEqual([['<0/1>']])
})

it('sends each piece of an insert with bad data by itself: the one at fault is told, the others are stored', async () => {
  const bench = new Bench(3, ({ body }) => (body.some((part) => String(part) === '<0/1>') ? BAD : STORED))
  const pieces = [0, 1, 2].map((partition) => bench.hand({ partition }))
  expect(await outcomes(pieces)).toEqual(['stored', 'bad-data', 'stored'])
  expect(bench.blocks).toEqual([['<0/0>', '<0/1>', '<0/2>'], ['<0/0>'], ['<0/1>'], ['<0/2>']])
  expect(new Set(bench.inserts.map(({ token }) => token)).size).toBe(4)
  expect(pieces.map(({ told }) => told)).toEqual([[], [BAD], []])
})

it('sends skipped rows that the table refuses again and again: they have nowhere else to go', async () => {
  const bench = new Bench(1, (_, sent) => (sent < 3 ? BAD : STORED))
  expect(await outcomes([bench.hand({ partition: 0, table: 'audit_skipped' })])).toEqual(['stored'])
  expect(bench.inserts).toHaveLength(3)
})
