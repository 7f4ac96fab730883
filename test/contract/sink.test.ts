/** What the protocol takes for granted of a sink: held against ClickHouse, and against the model that stands for it. */
import { randomBytes } from 'node:crypto'
import {
  composeParts,
  type ClickHouseSink,
  type Insert,
  insertPrefix,
  type LogPartition,
} from '@agent-audit/consumer/pipeline'
import { readSettings } from '@agent-audit/consumer'
import { describe, expect, it } from 'vitest'
import { openEmbedded, openStore, environmentOf } from '../consumer/support.ts'
import { encodeRecord, encodeRun, makeRecord, runIdOf } from '../support/records.ts'
import { insertsOf } from './blocks.ts'
import { openModelStore } from './model.ts'

interface SinkUnderTest {
  readonly sink: ClickHouseSink
  /** Bytes of a record that passes the check and is refused by the store for its data. */
  readonly refusedRecord: (run: string, seq: number) => Promise<Buffer>
}

const store = await openStore()

async function openClickHouse(): Promise<SinkUnderTest> {
  const log = await openEmbedded(store)
  const { sink } = composeParts(readSettings(environmentOf(store, log)))
  const forbid = `ALTER TABLE audit_events ADD CONSTRAINT IF NOT EXISTS forbidden CHECK agent_id != 'forbidden'`
  return {
    sink,
    async refusedRecord(run, seq) {
      await store.send(forbid, store.dataDir.admin)
      return encodeRecord(makeRecord(run, seq, { agent_id: 'forbidden' }))
    },
  }
}

async function openModel(): Promise<SinkUnderTest> {
  const { sink, refuse } = openModelStore()
  return {
    sink,
    async refusedRecord(run, seq) {
      refuse(seq)
      return encodeRecord(makeRecord(run, seq))
    },
  }
}

const LEASE_MS = 60_000

const newPlace = (): LogPartition => ({ logId: randomBytes(8), topic: 'events', partition: 3 })

async function send(sink: ClickHouseSink, place: LogPartition, insert: Insert, change: Partial<Insert> = {}) {
  const fencedAt = await sink.now()
  const queryId = `${insertPrefix(place)}${randomBytes(8).toString('hex')}`
  return sink.insert({ ...insert, queryId, token: queryId, fencedAt, deadline: fencedAt + LEASE_MS, ...change })
}

async function only(place: LogPartition, values: readonly (Buffer | null)[], first = 0): Promise<Insert> {
  const [insert, ...more] = await insertsOf(place, values, first)
  if (insert === undefined || more.length > 0) throw new Error(`expected one insert, not ${more.length + 1}`)
  return insert
}

describe.each([
  ['ClickHouse', openClickHouse],
  ['the model', openModel],
])('the sink of %s', (_kind, open) => {
  it('stores rows of both tables, and tells which offsets and records are accounted for', async () => {
    const [{ sink }, place] = [await open(), newPlace()]
    const values = [...encodeRun('a', 4, 6), null, Buffer.from('no record'), ...encodeRun('b', 0, 0)]
    const [events, skipped] = await insertsOf(place, values, 10)
    if (events === undefined || skipped === undefined) throw new Error('expected two inserts')
    expect(await send(sink, place, events)).toEqual({ kind: 'stored' })
    expect(await sink.accounted(place, 0)).toEqual([
      { first: 10, last: 12 },
      { first: 15, last: 15 },
    ])
    expect(await send(sink, place, skipped)).toEqual({ kind: 'stored' })
    expect(await sink.accounted(place, 0)).toEqual([{ first: 10, last: 15 }])
    expect(await sink.accounted(place, 14)).toEqual([{ first: 14, last: 15 }])
    expect(await sink.accounted({ ...place, partition: 4 }, 0)).toEqual([])
    const [a, b] = [runIdOf('a').toString('hex'), runIdOf('b').toString('hex')]
    expect(await sink.identityAt(place, 11)).toEqual({ runId: a, runSeq: 5 })
    expect(await sink.identityAt(place, 13)).toBe(undefined)
    expect(await sink.identityAt(place, 16)).toBe(undefined)
    expect(await sink.deadInARow(place, 15, 10)).toBe(2)
    expect(await sink.deadInARow(place, 15, 1)).toBe(1)
    expect(await sink.deadInARow(place, 13, 10)).toBe(0)
    const highest = await sink.highestSeqs(place, [a, b, runIdOf('c').toString('hex')])
    expect(Object.fromEntries(highest)).toEqual({ [a]: 6, [b]: 0 })
    const asked = [3, 4, 5].map((runSeq) => ({ runId: a, runSeq }))
    expect(await sink.stored(place, asked)).toEqual(asked.slice(1))
  })

  it('answers about as many runs and records as a batch can hold', async () => {
    const [{ sink }, place] = [await open(), newPlace()]
    await send(sink, place, await only(place, [...encodeRun('a', 0, 2), ...encodeRun('b', 5, 5)]))
    const [a, b] = [runIdOf('a').toString('hex'), runIdOf('b').toString('hex')]
    const others = Array.from({ length: 50_000 }, (_, run) => (run + 1).toString(16).padStart(32, '0'))
    expect(Object.fromEntries(await sink.highestSeqs(place, [a, ...others, b]))).toEqual({ [a]: 2, [b]: 5 })
    const asked = others.map((_, index) => ({ runId: a, runSeq: index < 49_997 ? 2 ** 40 + index : index - 49_997 }))
    expect(await sink.stored(place, asked)).toEqual([0, 1, 2].map((runSeq) => ({ runId: a, runSeq })))
  })

  it('leaves no row of an insert that comes after its deadline, and calls it unclear', async () => {
    const [{ sink }, place] = [await open(), newPlace()]
    const [events, skipped] = await insertsOf(place, [...encodeRun('a', 0, 2), null])
    const now = await sink.now()
    for (const insert of [events, skipped]) {
      if (insert === undefined) throw new Error('expected two inserts')
      expect(await send(sink, place, insert, { fencedAt: now, deadline: now - 1 })).toMatchObject({ kind: 'unclear' })
    }
    expect(await sink.accounted(place, 0)).toEqual([])
  })

  it('leaves no row of an insert that was fenced before the server started', async () => {
    const [{ sink }, place] = [await open(), newPlace()]
    const events = await only(place, encodeRun('a', 0, 2))
    const fencedAt = (await sink.now()) - 30 * 24 * 3_600_000
    expect(await send(sink, place, events, { fencedAt })).toMatchObject({ kind: 'unclear' })
    expect(await sink.accounted(place, 0)).toEqual([])
  })

  it('stores a body once, however often it is sent with its token', async () => {
    const [{ sink }, place] = [await open(), newPlace()]
    const events = await only(place, encodeRun('a', 0, 2))
    expect(await send(sink, place, events, { token: 'the same' })).toEqual({ kind: 'stored' })
    const again = await send(sink, place, events, { token: 'the same' })
    expect(again.kind).toBe('stored')
    const identities = await sink.stored(
      place,
      [0, 1, 2].map((runSeq) => ({ runId: runIdOf('a').toString('hex'), runSeq })),
    )
    expect(identities.length).toBe(3)
  })

  it('stores a body once, also where two sends of it are under way at once', async () => {
    const { sink } = await open()
    for (let round = 0; round < 10; round++) {
      const place = newPlace()
      const events = await only(place, encodeRun(`at once ${round}`, 0, 2000))
      const token = `at once ${round} ${randomBytes(8).toString('hex')}`
      const answers = await Promise.all([send(sink, place, events, { token }), send(sink, place, events, { token })])
      expect(answers).toEqual([{ kind: 'stored' }, { kind: 'stored' }])
      const runSeqs = Array.from({ length: 2001 }, (_, runSeq) => ({
        runId: runIdOf(`at once ${round}`).toString('hex'),
        runSeq,
      }))
      expect(await sink.stored(place, runSeqs)).toHaveLength(2001)
    }
  })

  it('takes nothing of a block with a record that the table refuses, and says that the data is bad', async () => {
    const [{ sink, refusedRecord }, place] = [await open(), newPlace()]
    const events = await only(place, [...encodeRun('a', 0, 2), await refusedRecord('a', 3), ...encodeRun('a', 4, 5)])
    expect(await send(sink, place, events)).toMatchObject({ kind: 'bad-data' })
    expect(await sink.accounted(place, 0)).toEqual([])
  })

  it('says whether its clock went on, and lists no insert once it is stored', async () => {
    const [{ sink }, place] = [await open(), newPlace()]
    const before = await sink.now()
    expect(await send(sink, place, await only(place, encodeRun('a', 0, 0)))).toEqual({ kind: 'stored' })
    expect(await sink.runningInserts(place)).toBe(0)
    expect(await sink.now()).toBeGreaterThanOrEqual(before)
  })

  it('lists an insert while it works on it, until its rows are there', async () => {
    const [{ sink }, place] = [await open(), newPlace()]
    // Large enough to be met at work: twice as large until it is.
    for (let count = 2000; ; count *= 2) {
      const here = { ...place, partition: count }
      const insert = await only(here, encodeRun(`run ${count}`, 0, count - 1))
      const done = new AbortController()
      const sent = send(sink, here, insert).finally(() => done.abort())
      let seen = false
      while (!done.signal.aborted && !seen) {
        const running = await sink.runningInserts(here)
        const rows = await sink.accounted(here, 0)
        seen = running > 0 && rows.length === 0
      }
      expect(await sent).toEqual({ kind: 'stored' })
      if (seen) return
    }
  })
})

// In the model only a proxy sends copies: there an id that comes twice is a fault of the sender's.
it('takes no second copy of an insert while it works on the first: what becomes of that one is not known', async () => {
  const [{ sink }, place] = [await openClickHouse(), newPlace()]
  // Large enough for the copy to come while the first is at work: twice as large until it does.
  for (let count = 2000; ; count *= 2) {
    const here = { ...place, partition: count }
    const insert = await only(here, encodeRun(`copied ${count}`, 0, count - 1))
    const queryId = `${insertPrefix(here)}${randomBytes(8).toString('hex')}`
    const sent = [send(sink, here, insert, { queryId }), send(sink, here, insert, { queryId, token: queryId })]
    const kinds = (await Promise.all(sent)).map(({ kind }) => kind).toSorted()
    expect(kinds).toSatisfy(([, other]) => other === 'stored' || other === 'unclear')
    if (kinds[1] === 'unclear') return expect(kinds).toEqual(['stored', 'unclear'])
  }
})
