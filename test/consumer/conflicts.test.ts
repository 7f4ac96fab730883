/** A record with the run_id and run_seq of another one: both are kept, whichever came first, and the conflict is named at once. */
import { SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import { describe, expect, it } from 'vitest'
import { readMetric } from '../support/metrics.ts'
import { encodeRecord, encodeRun, makeRecord, runIdOf, uuidOf } from '../support/records.ts'
import { accountOf, environmentOf, openLogKinds, openStore, rowsOf, runConsumer } from './support.ts'

const store = await openStore()
const WAIT = { timeout: 40_000, interval: 50 }

/** Records of a run that another party wrote. */
function forge(run: string, first: number, last: number): Buffer[] {
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const seq = first + index
    return encodeRecord(makeRecord(run, seq, { event_id: uuidOf(`forged ${seq}`), reasoning: 'FORGED' }))
  })
}

interface Kept {
  readonly log_offset: number
  readonly key: string
  readonly value: string
}

describe.each(await openLogKinds())('on %s', (_name, openLog) => {
  it('a number that was taken ahead of time does not erase the real event: its bytes are kept, and the log says so', async () => {
    const log = await openLog(store)
    const lines: string[] = []
    const { consumer } = runConsumer({ ...environmentOf(store, log), LOG_LEVEL: 'error' }, undefined, {
      write: (line) => lines.push(line),
    })
    await log.append(0, [...encodeRun('victim', 0, 2), ...forge('victim', 3, 7)])
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 8, skipped: {} })
    const real = encodeRun('victim', 3, 7)
    await log.append(0, real)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 8, skipped: { duplicate: 5 } })
    const kept = await rowsOf<Kept>(store, log, 'audit_skipped', 'log_offset, key, lower(hex(value)) AS value')
    expect(kept).toEqual(
      real.map((value, index) => ({ log_offset: 8 + index, key: 'key', value: value.toString('hex') })),
    )
    expect(readMetric(await consumer.metrics.registry.metrics(), 'audit_conflicts_total')).toBe(5)
    expect(lines).toHaveLength(1)
    const runId = runIdOf('victim').toString('hex')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      topic: log.topic,
      partition: 0,
      count: 5,
      conflicts: [3, 4, 5, 6, 7].map((runSeq) => ({ runId, runSeq, storedOffset: runSeq, skippedOffset: runSeq + 5 })),
    })
    expect(lines[0]).not.toMatch(/FORGED|record 3 of/)
  })

  it('the same record sent again is no conflict, and keeps its bytes too, within a batch and across batches', async () => {
    const log = await openLog(store)
    const { consumer } = runConsumer(environmentOf(store, log))
    await log.append(0, [...encodeRun('again', 0, 2), ...encodeRun('again', 1, 3)])
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 4, skipped: { duplicate: 2 } })
    await log.append(0, encodeRun('again', 0, 3))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 4, skipped: { duplicate: 6 } })
    const kept = await rowsOf<Kept>(store, log, 'audit_skipped', 'lower(hex(value)) AS value')
    const sent = [...encodeRun('again', 1, 2), ...encodeRun('again', 0, 3)].map((value) => value.toString('hex'))
    expect(kept.map(({ value }) => value)).toEqual(sent)
    expect(readMetric(await consumer.metrics.registry.metrics(), 'audit_conflicts_total') ?? 0).toBe(0)
  })

  it('two records of one number in one batch are a conflict, and the bytes of the second are kept whole', async () => {
    const log = await openLog(store)
    const [first, second] = [forge('twice', 0, 0), encodeRun('twice', 0, 0)]
    await log.append(0, [...first, ...second])
    const { consumer } = runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: { duplicate: 1 } })
    expect(readMetric(await consumer.metrics.registry.metrics(), 'audit_conflicts_total')).toBe(1)
    const [kept] = await rowsOf<Kept>(store, log, 'audit_skipped', 'log_offset, lower(hex(value)) AS value')
    expect(kept).toEqual({ log_offset: 1, value: second[0]?.toString('hex') })
    expect(second[0]?.length).toBeGreaterThan(SINGLE_OBJECT_BYTES)
  })
})
