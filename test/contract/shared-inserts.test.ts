/** What the protocol assumes about an insert with rows of several partitions, tested on ClickHouse and on its model. */
import { randomBytes } from 'node:crypto'
import { type Insert, insertId, type LogPartition } from '@agent-audit/consumer/pipeline'
import { describe, expect, it } from 'vitest'
import { encodeRun } from '../support/records.ts'
import { insertsOf, joinInserts } from './blocks.ts'
import { newLogPartition, only, send, SINKS } from './sinks.ts'

describe.each(SINKS)('the sink of %s', (_kind, open) => {
  it('stores rows of several partitions in one insert, and looks at each by itself', async () => {
    const [{ sink }, logId] = [await open(), randomBytes(8)]
    const partitions = [1, 11, 111].map((partition): LogPartition => ({ logId, topic: 'events', partition }))
    const others = [{ ...partitions[0], partition: 2 } as LogPartition, { ...newLogPartition(), partition: 1 }]
    const pieces = await Promise.all(
      partitions.map((at) => insertsOf(at, [...encodeRun(`of ${at.partition}`, 0, at.partition), null], 5)),
    )
    for (const index of [0, 1]) {
      const insert = joinInserts(pieces.map((inserts) => inserts[index]))
      expect(await send(sink, others[0] as LogPartition, insert, { queryId: insertId(partitions) })).toEqual({
        kind: 'stored',
      })
    }
    for (const at of partitions) {
      expect(await sink.accounted(at, 0)).toEqual([{ first: 5, last: at.partition + 6 }])
      expect(await sink.countOffsets(at, { first: 0, last: 1000 })).toBe(at.partition + 2)
      expect(await sink.runningInserts(at)).toBe(0)
    }
    // Asked at one moment, and of other ranges.
    const counts = partitions.map((at) => sink.countOffsets(at, { first: 0, last: at.partition + 5 }))
    const ofOthers = others.map((at) => sink.countOffsets(at, { first: 0, last: 9 }))
    const long = sink.countOffsets(partitions[2] as LogPartition, { first: 0, last: 1_000_000 })
    expect(await Promise.all([...counts, ...ofOthers, long])).toEqual([2, 12, 112, 0, 0, 113])
    // The writer that has lost a partition may ask beside the one that has it now.
    const two = [
      { first: 5, last: 5 },
      { first: 6, last: 10 },
    ].map((range) => sink.countOffsets(partitions[1] as LogPartition, range))
    expect(await Promise.all(two)).toEqual([1, 5])
    for (const at of others) expect(await sink.accounted(at, 0)).toEqual([])
  })

  it.each([
    { sends: 'both, then one', leftOut: true, found: [3, 3] },
    { sends: 'one, then both', leftOut: false, found: [3, 0] },
  ])('stores the first of two inserts with one token, whose partitions differ: $sends', async ({ leftOut, found }) => {
    const [{ sink }, logId] = [await open(), randomBytes(8)]
    const partitions = [0, 1].map((partition): LogPartition => ({ logId, topic: 'events', partition }))
    const pieces = await Promise.all(partitions.map((at) => only(at, encodeRun(`of ${at.partition}`, 0, 2))))
    const [one, both] = [pieces[0] as Insert, joinInserts(pieces)]
    const token = randomBytes(8).toString('hex')
    for (const insert of leftOut ? [both, one] : [one, both]) {
      expect(await send(sink, partitions[0] as LogPartition, insert, { token })).toEqual({ kind: 'stored' })
    }
    const rows = partitions.map((at) => sink.rowsBetween(at, { first: 0, last: 9 }, 'counting'))
    expect((await Promise.all(rows)).map(({ length }) => length)).toEqual(found)
  })

  // As a log has that was set up for much.
  it('lists an insert of 96 partitions for each of them while it works on it, until its rows are there', async () => {
    const [{ sink }, logPartition] = [await open(), newLogPartition()]
    // Large enough to be seen at work: doubled until it is.
    for (let count = 2000; ; count *= 2) {
      const all = Array.from({ length: 96 }, (_, partition) => ({ ...logPartition, partition: count + partition }))
      const [here, last] = [all[0], all.at(-1)] as [LogPartition, LogPartition]
      const stranger = { ...logPartition, partition: count + 96 }
      const insert = await only(here, encodeRun(`run ${count}`, 0, count - 1))
      const done = new AbortController()
      const sent = send(sink, here, insert, { queryId: insertId(all) }).finally(() => done.abort())
      let seen = false
      while (!done.signal.aborted && !seen) {
        const running = [here, last, stranger].map((at) => sink.runningInserts(at))
        const [rows, atFirst, atLast, others] = await Promise.all([sink.accounted(here, 0), ...running])
        seen = atFirst === 1 && atLast === 1 && rows.length === 0
        expect(others).toBe(0)
      }
      expect(await sent).toEqual({ kind: 'stored' })
      if (seen) return
    }
  })
})
