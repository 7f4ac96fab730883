/** A record with the run_id and run_seq of another one: both are kept, whichever came first, and the conflict is named at once. */
import { createHash } from 'node:crypto'
import { completeness, connectAnalytics, type PartitionReport } from '@agent-audit/analytics'
import {
  type AuditRecord,
  DEFAULT_RETENTION_CLASS,
  logIdOf,
  NEWEST_SCHEMA,
  SCHEMA_VERSIONS,
  SINGLE_OBJECT_BYTES,
} from '@agent-audit/schemas'
import { describe, expect, it } from 'vitest'
import { FULL, FULL_2, LEAST } from '../schemas/records.ts'
import { readMetric } from '../support/metrics.ts'
import { encodeRecord, encodeRun, encodeVersion, makeRecord, runIdOf, uuidOf } from '../support/records.ts'
import { accountOf, environmentOf, openLogKinds, openStore, rowsOf, runConsumer, type TestLog } from './support.ts'

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

/** What verify says of the one partition of a log. */
async function verify(log: TestLog): Promise<PartitionReport | undefined> {
  await using analytics = connectAnalytics(store.dataDir.admin)
  const { partitions } = await completeness(analytics)
  return partitions.find(({ log_id }) => log_id === logIdOf(log.sourceId, log.topic).toString('hex'))
}

/** This record under a number of the test's run; avsc takes its bytes as buffers only. */
function ownRecord(record: AuditRecord, seq: number): AuditRecord {
  const fields = Object.entries(record).map(([name, value]: [string, unknown]) => [
    name,
    value instanceof Uint8Array ? Buffer.from(value) : value,
  ])
  return {
    ...(Object.fromEntries(fields) as AuditRecord),
    run_id: runIdOf('fields'),
    run_seq: seq,
    retention_class: DEFAULT_RETENTION_CLASS,
  }
}

/** Another value of a field. */
function changed(name: string, value: unknown): unknown {
  if (typeof value === 'string') return name.endsWith('_id') && value.length === 36 ? uuidOf(name) : `${value} changed`
  if (typeof value === 'number') return value + 1
  if (typeof value === 'boolean') return !value
  return createHash('sha256').update(name).digest()
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
    expect(await verify(log)).toMatchObject({
      duplicates: 5,
      conflicts: 5,
      uncompared: 0,
      conflicting: [3, 4, 5, 6, 7].map((seq) => ({
        run_id: runId,
        run_seq: seq,
        offset: seq + 5,
        stored_offset: seq,
        found: 'other record',
      })),
    })
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
    expect(await verify(log)).toMatchObject({ duplicates: 6, conflicts: 0, uncompared: 0 })
    const text = (): Promise<string> => consumer.metrics.registry.metrics()
    expect(readMetric(await text(), 'audit_conflicts_total') ?? 0).toBe(0)
    // The bytes that the batches held are given back, all of them.
    await expect.poll(async () => readMetric(await text(), 'audit_buffered_bytes'), WAIT).toBe(0)
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

  it('verify finds a difference in any field of a record, and none between two versions of the same record', async () => {
    const log = await openLog(store)
    const records = [FULL, FULL_2, LEAST].map((record, seq) => ownRecord(record, seq))
    const sent = records.map((record) => encodeRecord(record))
    const [first, second] = SCHEMA_VERSIONS
    if (first === undefined || second === undefined) throw new Error('there are two versions')
    const [full, full2] = [records[0] ?? LEAST, records[1] ?? LEAST]
    const again = [...sent, encodeVersion(first, full), encodeVersion(second, full2)]
    const names = NEWEST_SCHEMA.fields
      .map(({ name }) => name)
      .filter((name) => !['run_id', 'run_seq', 'retention_class'].includes(name))
    const forged = names.map((name) =>
      encodeRecord({ ...full2, [name]: changed(name, full2[name as keyof typeof full2]) }),
    )
    await log.append(0, [...sent, ...again, ...forged])
    runConsumer(environmentOf(store, log))
    const duplicate = again.length + forged.length
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: sent.length, skipped: { duplicate } })
    const report = await verify(log)
    expect(report).toMatchObject({ duplicates: duplicate, conflicts: forged.length, uncompared: 0 })
    const offsets = forged.map((_, index) => sent.length + again.length + index)
    expect(report?.conflicting.map(({ offset }) => offset)).toEqual(offsets)
  })
})
