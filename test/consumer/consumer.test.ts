import { NEWEST_SCHEMA, SCHEMA_VERSIONS } from '@agent-audit/schemas'
import { describe, expect, it, vi } from 'vitest'
import { encodeRecord, encodeRun, encodeVersion, makeRecord, runIdOf } from '../support/records.ts'
import {
  accountOf,
  copyRows,
  environmentOf,
  openLogKinds,
  openStore,
  patientEnvironmentOf,
  rowsOf,
  runConsumer,
} from './support.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }

const kinds = await openLogKinds()

describe.each(kinds)('on %s', (_, openLog) => {
  it('stores each record once, with its log position and the schema it was written with', async () => {
    const log = await openLog(store, { partitions: 2 })
    await log.append(0, encodeRun('a', 0, 2))
    await log.append(1, encodeRun('b', 0, 1))
    runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 5, skipped: {} })
    const columns = 'log_partition, log_offset, run_id_hex, run_seq, reasoning, reinterpretAsUInt64(writer_schema) = '
    const rows = await rowsOf(store, log, 'audit_events', `${columns}${NEWEST_SCHEMA.fingerprint} AS newest`)
    expect(rows[4]).toEqual({
      log_partition: 1,
      log_offset: 1,
      run_id_hex: runIdOf('b').toString('hex'),
      run_seq: 1,
      reasoning: 'record 1 of b',
      newest: 1,
    })
  })

  it('stores records of every version in one batch: the fields that a version lacks are null', async () => {
    const log = await openLog(store)
    const ofVersion2 = {
      on_behalf_of: 'service:billing',
      idempotency_key: 'refund-42',
      reason_code: 'policy_denied',
      effect: 'dispatched',
      output_sha256: Buffer.alloc(32, 7),
      policy: '{"id":"refunds"}',
      approval: '{"approver_kind":"person"}',
    }
    // A record of version 1 is followed by one of version 2, a hundred times.
    const records = [...Array(100).keys()].map((index) =>
      SCHEMA_VERSIONS.map((version) =>
        encodeVersion(version, makeRecord(`version ${version.version}`, index, ofVersion2)),
      ),
    )
    await log.append(0, records.flat())
    const environment = { ...environmentOf(store, log), BATCH_MAX_AGE_MS: '500' }
    let inserts = 0
    runConsumer(environment, ({ sink }) => ({
      sink: {
        ...sink,
        insert(insert) {
          inserts++
          return sink.insert(insert)
        },
      },
    }))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 200, skipped: {} })
    expect(inserts).toBe(1)
    const names = Object.keys(ofVersion2).map((name) => (name === 'output_sha256' ? 'output_sha256_hex' : name))
    const columns = `reasoning, ${names.join(', ')}, toString(reinterpretAsUInt64(writer_schema)) AS fingerprint`
    const rows = await rowsOf(store, log, 'audit_events', columns)
    const { output_sha256, ...texts } = ofVersion2
    const [first, second] = SCHEMA_VERSIONS.map(({ fingerprint }) => ({ fingerprint: String(fingerprint) }))
    expect(rows.slice(100, 102)).toEqual([
      { reasoning: 'record 50 of version 1', ...first, ...Object.fromEntries(names.map((name) => [name, null])) },
      { reasoning: 'record 50 of version 2', ...second, ...texts, output_sha256_hex: output_sha256.toString('hex') },
    ])
  })

  it('turns records that a producer sent again into skipped rows, within a batch and across batches', async () => {
    const log = await openLog(store)
    await log.append(0, [...encodeRun('a', 0, 4), ...encodeRun('a', 3, 6)])
    runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 7, skipped: { duplicate: 2 } })
    await log.append(0, encodeRun('a', 2, 8))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 9, skipped: { duplicate: 7 } })
    const rows = await rowsOf<{ run_seq: number }>(store, log, 'audit_events', 'run_seq')
    expect(rows.map((row) => row.run_seq)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('stores a record that comes out of order: only a record that is in the table is a duplicate', async () => {
    const log = await openLog(store)
    await log.append(0, [...encodeRun('a', 5, 9)])
    runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 5, skipped: {} })
    await log.append(0, encodeRun('a', 0, 5))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 10, skipped: { duplicate: 1 } })
  })

  it('ends with a fault in its own code as it was thrown, not as an error of the broker', async () => {
    const log = await openLog(store)
    await log.append(0, encodeRun('a', 0, 9))
    const fault = new RangeError('an unexpected fault')
    const { failure } = runConsumer(environmentOf(store, log), ({ check }) => ({
      check: { ...check, prepare: () => Promise.reject(fault) },
    }))
    expect(await failure).toBe(fault)
  })

  it('knows duplicates of runs that an earlier consumer wrote', async () => {
    const log = await openLog(store)
    await log.append(0, encodeRun('a', 0, 9))
    const first = runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 10, skipped: {} })
    await first.stop()
    await log.append(0, encodeRun('a', 8, 12))
    runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 13, skipped: { duplicate: 2 } })
  })

  it('leaves the partitions clean, so that the next consumer does not wait for a lease to expire', async () => {
    const log = await openLog(store)
    const patient = patientEnvironmentOf(store, log)
    await log.append(0, encodeRun('a', 0, 9))
    const first = runConsumer(patient)
    await expect.poll(() => accountOf(store, log), WAIT).toMatchObject({ events: 10 })
    await first.stop()
    await log.append(0, encodeRun('a', 10, 19))
    runConsumer(patient)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 20, skipped: {} })
  })

  it('waits out the lease of an unknown owner before it reads the tables', async () => {
    const log = await openLog(store, { clean: false })
    await log.append(0, encodeRun('a', 0, 9))
    const startedAt = performance.now()
    runConsumer({ ...environmentOf(store, log), LEASE_MS: '3000' })
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 10, skipped: {} })
    // A lower bound depends on no timing: a slow machine only makes it later.
    expect(performance.now() - startedAt).toBeGreaterThan(3000)
  })

  it('goes on at the first gap, and leaves out the rows that an earlier owner wrote above it', async () => {
    const log = await openLog(store, { clean: false })
    const records = encodeRun('a', 0, 9)
    await log.append(0, records)
    const first = runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toMatchObject({ events: 10 })
    await first.stop()
    // The state after a crash between two inserts: offsets 4 and 5 are missing, those above are there.
    const lost = await openLog(store, { clean: false })
    await lost.append(0, records)
    await copyRows(store, log, lost, 'log_offset NOT IN (4, 5)')
    await expect(accountOf(store, lost)).resolves.toMatchObject({ events: 8 })
    runConsumer(environmentOf(store, lost))
    await expect.poll(() => accountOf(store, lost), WAIT).toEqual({ events: 10, skipped: {} })
    const rows = await rowsOf<{ log_offset: number }>(store, lost, 'audit_events', 'log_offset')
    expect(rows.map((row) => row.log_offset)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('splits a batch where the retention class changes, and stores all of it', async () => {
    const log = await openLog(store, { ending: '.hipaa' })
    const classes = ['default', 'default', 'hipaa', 'default', 'hipaa']
    await log.append(
      0,
      classes.map((retention_class, seq) => encodeRecord(makeRecord('a', seq, { retention_class }))),
    )
    runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 5, skipped: {} })
    const rows = await rowsOf<{ retention_class: string }>(store, log, 'audit_events', 'retention_class')
    expect(rows.map((row) => row.retention_class)).toEqual(classes)
  })

  it('gives a skipped row the retention class of its batch: dropping a class takes the skipped rows between its events along', async () => {
    const log = await openLog(store, { ending: '.hipaa.pci' })
    const [first, hipaa, last] = ['default', 'hipaa.pci', 'pci'].map((retention_class, seq) =>
      encodeRecord(makeRecord('a', seq, { retention_class })),
    ) as [Buffer, Buffer, Buffer]
    await log.append(0, [first, null, hipaa, Buffer.from('no record'), hipaa, null, last])
    runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 3, skipped: { dead: 3, duplicate: 1 } })
    const columns = 'kind, retention_class AS class'
    expect(await rowsOf(store, log, 'audit_skipped', columns)).toEqual([
      { kind: 'dead', class: 'default' },
      { kind: 'dead', class: 'hipaa.pci' },
      { kind: 'duplicate', class: 'hipaa.pci' },
      { kind: 'dead', class: 'hipaa.pci' },
    ])
    // A batch without a record whose class is known.
    await log.append(0, [null])
    await expect.poll(() => accountOf(store, log), WAIT).toMatchObject({ skipped: { dead: 4 } })
    expect((await rowsOf(store, log, 'audit_skipped', columns)).at(-1)).toEqual({ kind: 'dead', class: 'pci' })
  })

  it('stops the partition when the log is not the one in the table', async () => {
    const log = await openLog(store)
    await log.append(0, encodeRun('a', 0, 9))
    const first = runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toMatchObject({ events: 10 })
    await first.stop()
    // The row at the newest offset is of another record now, as with another log of the same name.
    const other = await openLog(store, { clean: false })
    await other.append(0, [...encodeRun('b', 0, 9), ...encodeRun('b', 10, 10)])
    await copyRows(store, log, other, '1')
    const second = runConsumer(environmentOf(store, other))
    await expect.poll(() => second.consumer.status.reason, WAIT).toMatch(/stopped: .* the log was replaced/)
    await expect(accountOf(store, other)).resolves.toEqual({ events: 10, skipped: {} })
  })

  it('refuses to write a log that another group writes', async () => {
    const log = await openLog(store)
    const { failure } = runConsumer({ ...environmentOf(store, log), AUDIT_GROUP_ID: 'another-group' })
    await expect(failure).resolves.toMatchObject({
      code: 'STORE_REFUSED',
      message: expect.stringContaining(log.group),
    })
  })

  it('refuses to start as a user that may do more than insert', async () => {
    const log = await openLog(store)
    const { username, password } = store.dataDir.admin
    const environment = { ...environmentOf(store, log), CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
    await expect(runConsumer(environment).failure).resolves.toMatchObject({ code: 'GRANTS_TOO_WIDE' })
  })

  it('does not retry a wrong password', async () => {
    const log = await openLog(store)
    const { failure } = runConsumer({ ...environmentOf(store, log), CLICKHOUSE_PASSWORD: 'wrong' })
    await expect(failure).resolves.toMatchObject({
      code: 'ACCESS_DENIED',
      message: expect.stringContaining('audit_writer'),
    })
  })

  it('retries while ClickHouse is out of reach, and names its address', async () => {
    const log = await openLog(store)
    const { consumer } = runConsumer({ ...environmentOf(store, log), CLICKHOUSE_URL: 'http://127.0.0.1:9' })
    await vi.waitFor(() => expect(consumer.status.reason).toContain('ClickHouse at 127.0.0.1:9 '), WAIT)
    expect(consumer.status.ready).toBe(false)
  })
})
