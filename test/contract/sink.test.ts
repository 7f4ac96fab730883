/** The protocol's assumptions about a sink, tested on ClickHouse and on its model. */
import { randomBytes } from 'node:crypto'
import { insertId } from '@agent-audit/consumer/pipeline'
import { storableLogTime } from '@agent-audit/kafka'
import { describe, expect, it } from 'vitest'
import { encodeRecord, encodeRun, makeRecord, runIdOf, uuidOf } from '../support/records.ts'
import { encodeHoles, insertsOf } from './blocks.ts'
import { newLogPartition, only, openClickHouse, send, SINKS } from './sinks.ts'

describe.each(SINKS)('the sink of %s', (_kind, open) => {
  it('stores rows of both tables, and says which offsets and records are accounted for', async () => {
    const [{ sink }, logPartition] = [await open(), newLogPartition()]
    const values = [...encodeRun('a', 4, 6), null, Buffer.from('no record'), ...encodeRun('b', 0, 0)]
    const [events, skipped] = await insertsOf(logPartition, values, 10)
    if (events === undefined || skipped === undefined) throw new Error('expected two inserts')
    expect(await send(sink, logPartition, events)).toEqual({ kind: 'stored' })
    expect(await sink.accounted(logPartition, 0)).toEqual([
      { first: 10, last: 12 },
      { first: 15, last: 15 },
    ])
    expect(await send(sink, logPartition, skipped)).toEqual({ kind: 'stored' })
    expect(await sink.accounted(logPartition, 0)).toEqual([{ first: 10, last: 15 }])
    expect(await sink.accounted(logPartition, 14)).toEqual([{ first: 14, last: 15 }])
    expect(await sink.accounted({ ...logPartition, partition: 4 }, 0)).toEqual([])
    const [a, b] = [runIdOf('a').toString('hex'), runIdOf('b').toString('hex')]
    const [logTimeMs, retentionClass] = [Date.UTC(2026, 1, 1), 'default']
    const eventId: unknown = expect.stringMatching(/^[0-9a-f-]{36}$/)
    const reason = 'tombstone: the value is null'
    expect(await sink.rowsBetween(logPartition, { first: 11, last: 13 }, 'counting')).toEqual([
      { offset: 11, kind: 'event', runId: a, runSeq: 5, eventId, logTimeMs, retentionClass, reason: null },
      { offset: 12, kind: 'event', runId: a, runSeq: 6, eventId, logTimeMs, retentionClass, reason: null },
      { offset: 13, kind: 'dead', runId: null, runSeq: null, eventId: null, logTimeMs, retentionClass, reason },
    ])
    expect(await sink.rowsBetween(logPartition, { first: 16, last: 20 }, 'counting')).toEqual([])
    expect(await sink.quarantined(logPartition)).toEqual([])
    expect(await sink.countOffsets(logPartition, { first: 0, last: 12 })).toBe(3)
    expect(await sink.countOffsets(logPartition, { first: 12, last: 99 })).toBe(4)
    expect(await sink.deadInARow(logPartition, 15, 10)).toBe(2)
    expect(await sink.deadInARow(logPartition, 15, 1)).toBe(1)
    expect(await sink.deadInARow(logPartition, 13, 10)).toBe(0)
    const highest = await sink.highestSeqs(logPartition, [a, b, runIdOf('c').toString('hex')])
    expect(Object.fromEntries(highest)).toEqual({ [a]: 6, [b]: 0 })
    const asked = [3, 4, 5].map((runSeq) => ({ runId: a, runSeq }))
    expect(await sink.stored(logPartition, asked)).toEqual([
      { runId: a, runSeq: 4, offset: 10, eventId: uuidOf('a 4') },
      { runId: a, runSeq: 5, offset: 11, eventId: uuidOf('a 5') },
    ])
  })

  it('tells the log time of a row as its record has it, also where the source has clamped it', async () => {
    const { sink } = await open()
    for (const time of [-(2 ** 62), 2 ** 62].map(storableLogTime)) {
      const logPartition = newLogPartition()
      const inserts = await insertsOf(logPartition, [...encodeRun('a', 0, 0), null], 0, time)
      for (const insert of inserts) expect(await send(sink, logPartition, insert)).toEqual({ kind: 'stored' })
      const rows = await sink.rowsBetween(logPartition, { first: 0, last: 1 }, 'counting')
      expect(rows.map(({ kind, logTimeMs }) => ({ kind, logTimeMs }))).toEqual([
        { kind: 'event', logTimeMs: time },
        { kind: 'dead', logTimeMs: time },
      ])
    }
  })

  it('accepts each insert of a range whose records have several classes, skipped rows among them', async () => {
    const [{ sink }, logPartition] = [await open(), newLogPartition()]
    const records = ['default', 'pci', 'pci', 'default'].map((retention_class, seq) =>
      encodeRecord(makeRecord('a', seq, { retention_class })),
    )
    const values = records.flatMap((record) => [record, null, record])
    const inserts = await insertsOf(logPartition, values)
    // Three batches, each with events and skipped rows.
    expect(inserts.map(({ table }) => table)).toEqual([1, 2, 3].flatMap(() => ['audit_events', 'audit_skipped']))
    for (const insert of inserts) expect(await send(sink, logPartition, insert)).toEqual({ kind: 'stored' })
    expect(await sink.accounted(logPartition, 0)).toEqual([{ first: 0, last: values.length - 1 }])
  })

  it.each(['class', 'month'])(
    'refuses skipped rows of more than one %s in one insert: they would be two parts',
    async (what) => {
      const [{ sink }, logPartition] = [await open(), newLogPartition()]
      const skipped = await only(logPartition, [null, null])
      const body = encodeHoles(logPartition, [{}, what === 'class' ? { retention_class: 'pci' } : { log_time: 0 }])
      expect(await send(sink, logPartition, { ...skipped, body: [body] })).toEqual({
        kind: 'refused',
        reason: expect.stringMatching(/^code 252: /),
      })
      expect(await sink.accounted(logPartition, 0)).toEqual([])
    },
  )

  it('says which offsets expiry notes cover, apart from those with a row', async () => {
    const [{ sink, note }, logPartition] = [await open(), newLogPartition()]
    await note(logPartition, 10, 19)
    await note(logPartition, 30, 30)
    expect(await sink.expired(logPartition, 0)).toEqual([
      { first: 10, last: 19 },
      { first: 30, last: 30 },
    ])
    expect(await sink.expired(logPartition, 12)).toEqual([
      { first: 12, last: 19 },
      { first: 30, last: 30 },
    ])
    expect(await sink.expired(logPartition, 31)).toEqual([])
    expect(await sink.expired({ ...logPartition, partition: 4 }, 0)).toEqual([])
    expect(await sink.accounted(logPartition, 0)).toEqual([])
  })

  it('answers about as many runs and records as a batch can hold', async () => {
    const [{ sink }, logPartition] = [await open(), newLogPartition()]
    await send(sink, logPartition, await only(logPartition, [...encodeRun('a', 0, 2), ...encodeRun('b', 5, 5)]))
    const [a, b] = [runIdOf('a').toString('hex'), runIdOf('b').toString('hex')]
    const others = Array.from({ length: 50_000 }, (_, run) => (run + 1).toString(16).padStart(32, '0'))
    expect(Object.fromEntries(await sink.highestSeqs(logPartition, [a, ...others, b]))).toEqual({ [a]: 2, [b]: 5 })
    const asked = others.map((_, index) => ({ runId: a, runSeq: index < 49_997 ? 2 ** 40 + index : index - 49_997 }))
    expect(await sink.stored(logPartition, asked)).toMatchObject([0, 1, 2].map((runSeq) => ({ runId: a, runSeq })))
  })

  it('leaves no row of an insert that comes after its deadline, and calls it unclear', async () => {
    const [{ sink }, logPartition] = [await open(), newLogPartition()]
    const [events, skipped] = await insertsOf(logPartition, [...encodeRun('a', 0, 2), null])
    const now = await sink.now()
    for (const insert of [events, skipped]) {
      if (insert === undefined) throw new Error('expected two inserts')
      expect(await send(sink, logPartition, insert, { fencedAt: now, deadline: now - 1 })).toMatchObject({
        kind: 'unclear',
      })
    }
    expect(await sink.accounted(logPartition, 0)).toEqual([])
  })

  it('leaves no row of an insert that was fenced before the server started', async () => {
    const [{ sink }, logPartition] = [await open(), newLogPartition()]
    const events = await only(logPartition, encodeRun('a', 0, 2))
    const fencedAt = (await sink.now()) - 30 * 24 * 3_600_000
    expect(await send(sink, logPartition, events, { fencedAt })).toMatchObject({ kind: 'unclear' })
    expect(await sink.accounted(logPartition, 0)).toEqual([])
  })

  it('stores a body once, however often it is sent with its token', async () => {
    const [{ sink }, logPartition] = [await open(), newLogPartition()]
    const events = await only(logPartition, encodeRun('a', 0, 2))
    expect(await send(sink, logPartition, events, { token: 'the same' })).toEqual({ kind: 'stored' })
    const again = await send(sink, logPartition, events, { token: 'the same' })
    expect(again.kind).toBe('stored')
    const identities = await sink.stored(
      logPartition,
      [0, 1, 2].map((runSeq) => ({ runId: runIdOf('a').toString('hex'), runSeq })),
    )
    expect(identities.length).toBe(3)
  })

  it('stores a body once, also where two sends of it are under way at once', async () => {
    const { sink } = await open()
    for (let round = 0; round < 10; round++) {
      const logPartition = newLogPartition()
      const events = await only(logPartition, encodeRun(`at once ${round}`, 0, 2000))
      const token = `at once ${round} ${randomBytes(8).toString('hex')}`
      const answers = await Promise.all([
        send(sink, logPartition, events, { token }),
        send(sink, logPartition, events, { token }),
      ])
      expect(answers).toEqual([{ kind: 'stored' }, { kind: 'stored' }])
      const runSeqs = Array.from({ length: 2001 }, (_, runSeq) => ({
        runId: runIdOf(`at once ${round}`).toString('hex'),
        runSeq,
      }))
      expect(await sink.stored(logPartition, runSeqs)).toHaveLength(2001)
    }
  })

  it('stores no row of a block with a record that the table refuses, and answers that the data is bad', async () => {
    const [{ sink, refusedRecord }, logPartition] = [await open(), newLogPartition()]
    const events = await only(logPartition, [
      ...encodeRun('a', 0, 2),
      await refusedRecord('a', 3),
      ...encodeRun('a', 4, 5),
    ])
    expect(await send(sink, logPartition, events)).toMatchObject({ kind: 'bad-data' })
    expect(await sink.accounted(logPartition, 0)).toEqual([])
  })

  it('has a clock that goes on, and lists no insert once it is stored', async () => {
    const [{ sink }, logPartition] = [await open(), newLogPartition()]
    const before = await sink.now()
    expect(await send(sink, logPartition, await only(logPartition, encodeRun('a', 0, 0)))).toEqual({ kind: 'stored' })
    expect(await sink.runningInserts(logPartition)).toBe(0)
    expect(await sink.now()).toBeGreaterThanOrEqual(before)
  })
})

// In the model only a proxy sends copies: there an id that comes twice is a fault of the sender.
it('refuses a second copy of an insert while it works on the first, whose outcome is not known then', async () => {
  const [{ sink }, logPartition] = [await openClickHouse(), newLogPartition()]
  // Large enough for the copy to come while the server works on the first: doubled until it does.
  for (let count = 2000; ; count *= 2) {
    const here = { ...logPartition, partition: count }
    const insert = await only(here, encodeRun(`copied ${count}`, 0, count - 1))
    const queryId = insertId([here])
    const sent = [send(sink, here, insert, { queryId }), send(sink, here, insert, { queryId, token: queryId })]
    const kinds = (await Promise.all(sent)).map(({ kind }) => kind).toSorted()
    expect(kinds).toSatisfy(([, other]) => other === 'stored' || other === 'unclear')
    if (kinds[1] === 'unclear') return expect(kinds).toEqual(['stored', 'unclear'])
  }
})
