/**
 * Tampering with a real trail, as an administrator of ClickHouse can: each act is found, with its place. The trail itself, with a
 * killed producer, an adopted spool, duplicates, dead letters and a foreign producer in it, is accused of nothing.
 */
import type { Integrity } from '@agent-audit/analytics'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it } from 'vitest'
import { namesRow, rowAt, type TrailRow } from './change.ts'
import { Copies } from './copies.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`

/** Inserts a row like a true one. */
const forged = (change: string): string => `INSERT INTO {db}.audit_events SELECT * REPLACE (${change})
  FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'c 5')`

/** Exchanges the texts of two rows. */
const swap = (one: string, other: string): string =>
  `ALTER TABLE {db}.audit_events UPDATE reasoning = if(reasoning = '${one}', '${other}', '${one}')
    WHERE reasoning IN ('${one}', '${other}')`

/** Tampering, with the row's place and the session in it. */
function expectNamed(report: Integrity, row: TrailRow, session?: string): void {
  expect(report.verdict).toBe('tampering')
  const found = report.findings.filter((finding) => finding.severity === 'tampering' && namesRow(row)(finding))
  expect(found).not.toEqual([])
  if (session !== undefined) expect(found.flatMap(({ sessions }) => sessions ?? [])).toContain(session)
}

/** What is asserted of a report. */
function shortOf({ verdict, findings }: Integrity): unknown {
  return { verdict, codes: [...new Set(findings.map(({ code }) => code))].toSorted() }
}

describe.skipIf(!kafka.available)(`a sealed trail ${MISSING}`, { timeout: 300_000 }, async () => {
  if (!kafka.available) return
  const copies = await Copies.open()
  const after = copies.after.bind(copies)

  it('is verified, with a killed producer, an adopted spool, duplicates, dead letters and a foreign producer in it', async () => {
    const trail = await copies.trail()
    const report = await after([])
    expect(report.findings).toEqual([])
    expect(report).toMatchObject({ verdict: 'verified', tier: 'outside', truncated: false })
    expect(report.sealed_events).toBe(report.events)
    expect(report.sealed_rows).toBe(report.events + report.skipped)
    expect(report.completeness).toMatchObject({ verdict: 'complete', skipped: { dead: 2 } })
    // At least those that the test has sent again: the adopter may send a record again too.
    expect(report.completeness?.skipped.duplicate).toBeGreaterThanOrEqual(20)
    expect(report.seals.counted).toBe(trail.notes.length)
    expect(report.seals.anchored_outside).toBe(trail.notes.length)
  })

  it.each([
    ['a text is changed', `reasoning = 'another'`],
    ['a number is changed', `step_number = 99`],
    ['a field of a later version is set', `policy = 'p', approval = '{}'`],
  ])('%s: found, with the place and the session', async (_, change) => {
    const row = await rowAt(copies, `reasoning = 'a 30'`)
    const report = await after([`ALTER TABLE {db}.audit_events UPDATE ${change} WHERE reasoning = 'a 30'`])
    expectNamed(report, row, 'session a')
    const rows = report.findings.find(({ code }) => code === 'rows-changed')
    expect(rows).toMatchObject({ severity: 'tampering', message: expect.stringContaining('events changed') })
    expect(rows?.sessions).toContain('session a')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'records-changed', producer_id: 'agent' }))
  })

  it('the writer schema is changed: found, with the place and the session', async () => {
    const row = await rowAt(copies, `reasoning = 'a 30'`)
    const report = await after([`ALTER TABLE {db}.audit_events UPDATE writer_schema = 1 WHERE reasoning = 'a 30'`])
    expectNamed(report, row, 'session a')
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'schema-unknown', partition: row.partition, first_offset: row.offset }),
    )
  })

  it.each([
    ['one row', 'audit_events', `reasoning = 'b 7'`],
    ['a session', 'audit_events', `session_id = 'session b'`],
    ['a prefix', 'audit_events', `log_offset < 20`],
    ['the tail', 'audit_events', `log_offset > 100`],
    ['a run', 'audit_events', `producer_id = 'killed'`],
    ['a dead letter', 'audit_skipped', `kind = 'dead'`],
    ['a duplicate', 'audit_skipped', `kind = 'duplicate'`],
  ] as const)('%s is removed: found, with the place', async (_, table, condition) => {
    const row = await rowAt(copies, condition, table)
    const report = await after([`ALTER TABLE {db}.${table} DELETE WHERE ${condition}`])
    expectNamed(report, row)
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'rows-changed', message: expect.stringContaining('removed') }),
    )
    const lost = report.findings.find(({ code }) => code === 'records-missing')
    if (table === 'audit_events') expect(lost).toMatchObject({ severity: 'incomplete', run_id: expect.any(String) })
  })

  it('all rows, or a row by a lightweight delete: found', async () => {
    const row = await rowAt(copies, `reasoning = 'b 7'`)
    const none = await after([`TRUNCATE TABLE {db}.audit_events`])
    expect(none).toMatchObject({ verdict: 'tampering', events: 0 })
    expectNamed(none, row)
    const light = [
      `ALTER TABLE {db}.audit_events MODIFY SETTING lightweight_mutation_projection_mode = 'rebuild'`,
      `DELETE FROM {db}.audit_events WHERE reasoning = 'b 7'`,
    ]
    expectNamed(await after(light, { fresh: true }), row)
  })

  it('a row is hidden by the quarantine of forged ones: found', async () => {
    const row = await rowAt(copies, `reasoning = 'b 7'`)
    const columns = 'log_id, log_partition, log_offset, run_id, run_seq, event_id, log_time'
    const hide = `INSERT INTO {db}.audit_quarantined (${columns}, kind, reason)
      SELECT ${columns}, 'event', 'x' FROM {db}.audit_events WHERE reasoning = 'b 7'`
    const report = await after([hide], { fresh: true })
    expect(report.verdict).toBe('tampering')
    expectNamed(report, row)
  })

  it('rows are noted as expired and removed: the notes are wrong, and what was not checked is named', async () => {
    const where = `session_id = 'session b'`
    const note = `INSERT INTO {db}.audit_expired (log_id, log_partition, first_offset, last_offset, retention_class, month)
      SELECT log_id, log_partition, log_offset, log_offset, 'default', 202601 FROM {db}.audit_events WHERE ${where}`
    const noteRun = `INSERT INTO {db}.audit_expired_runs (run_id, first_run_seq, last_run_seq, kind, retention_class, month)
      SELECT run_id, run_seq, run_seq, 'event', 'default', 202601 FROM {db}.audit_events WHERE ${where}`
    const report = await after([note, noteRun, `ALTER TABLE {db}.audit_events DELETE WHERE ${where}`], { fresh: true })
    expect(report.verdict).toBe('tampering')
    // Notes of a month that rows beside them are not of.
    const wrongly = expect.stringMatching(/^\d+ offsets wrongly noted as expired$/)
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'completeness', message: wrongly }))
    const hashes = /hashes of \d+ consumer seals: rows of them have expired/
    expect(report.not_checked).toContainEqual(expect.stringMatching(hashes))
    const digests = /digest of \d+ producer seals: records of them never came, or have expired/
    expect(report.not_checked).toContainEqual(expect.stringMatching(digests))
  })

  it('rows are noted as expired by offset alone, and removed: the producers miss their records', async () => {
    const where = `session_id = 'session b'`
    const { run, seq } = await rowAt(copies, `reasoning = 'b 7'`)
    const note = `INSERT INTO {db}.audit_expired (log_id, log_partition, first_offset, last_offset, retention_class, month)
      SELECT log_id, log_partition, log_offset, log_offset, 'default', 202601 FROM {db}.audit_events WHERE ${where}`
    const report = await after([note, `ALTER TABLE {db}.audit_events DELETE WHERE ${where}`], { fresh: true })
    expect(report.verdict).toBe('tampering')
    const lost = report.findings.filter(({ run_id: id, first_run_seq: first = 0, last_run_seq: last = -1 }) => {
      return id === run && first <= Number(seq) && Number(seq) <= last
    })
    expect(lost).toContainEqual(expect.objectContaining({ code: 'records-missing', severity: 'incomplete' }))
  })

  it('a forged row is inserted', async () => {
    const used = await after([forged(`'forged' AS reasoning, generateUUIDv4() AS event_id, 9999 AS run_seq`)])
    expect(used.verdict).toBe('tampering')
    expect(used.findings.map(({ code }) => code)).toEqual(expect.arrayContaining(['rows-changed', 'record-inserted']))
    const behind = await after([
      forged(`'forged' AS reasoning, 100000 AS log_offset, unhex('00112233445566778899aabbccddeeff') AS run_id,
        0 AS run_seq, now64(3) - 7200 AS log_time`),
    ])
    expect(behind.findings).toContainEqual(
      expect.objectContaining({
        code: 'record-inserted',
        first_offset: 100_000,
        run_id: '00112233445566778899aabbccddeeff',
      }),
    )
  })

  it.each(['9007199254740000', '9007199254740993', '4611686018427387904', '9223372036854775807', '-1'])(
    'a forged row stands at offset %s, which no log has reached: found, and soon',
    async (offset) => {
      const report = await after([forged(`toInt64(${offset}) AS log_offset, toInt64(${offset}) AS run_seq`)])
      expect(report.verdict).toBe('tampering')
      const found = report.findings.find(({ code, first_offset: first = 0, last_offset: last = 0 }) => {
        const at = Math.min(Number(offset), 2 ** 63 - 1024)
        return code === 'record-inserted' && first <= at && at <= last
      })
      expect(found).toBeDefined()
    },
  )

  it('a true event is stored again at another offset', async () => {
    const report = await after([
      `INSERT INTO {db}.audit_events SELECT * REPLACE (100000 AS log_offset) FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'c 5')`,
    ])
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(expect.objectContaining({ code: 'row-repeated' }))
  })

  it('a forged row has the number of a true one: the seal says which is the own one', async () => {
    const report = await after([
      `INSERT INTO {db}.audit_events SELECT * REPLACE (100000 AS log_offset, 'forged' AS reasoning)
        FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'c 5')`,
    ])
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'conflict-decided', first_offset: 100_000, sessions: ['session c'] }),
    )
  })

  it('two rows change places, within a seal and across seals', async () => {
    for (const [one, other] of [
      ['a 1', 'a 2'],
      ['a 1', 'd 59'],
    ] as const) {
      const rows = [await rowAt(copies, `reasoning = '${one}'`), await rowAt(copies, `reasoning = '${other}'`)]
      const report = await after([swap(one, other)])
      expect(shortOf(report)).toEqual({ verdict: 'tampering', codes: ['records-changed', 'rows-changed'] })
      for (const [index, row] of rows.entries()) expectNamed(report, row, `session ${[one, other][index]?.[0]}`)
    }
  })

  it('a row is moved to the other table: found, with its place', async () => {
    const row = await rowAt(copies, `reasoning = 'a 3'`)
    const columns = 'retention_class, run_id, run_seq, log_id, log_partition, log_offset, log_time'
    const report = await after([
      `INSERT INTO {db}.audit_skipped (${columns}, kind) SELECT ${columns}, 'dead' FROM {db}.audit_events WHERE reasoning = 'a 3'`,
      `ALTER TABLE {db}.audit_events DELETE WHERE reasoning = 'a 3'`,
    ])
    expectNamed(report, row)
    expect(report.findings).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining('1 event(s) removed, 1 skipped row(s) added') }),
    )
  })

  it('a row is moved to the other partition of the log', async () => {
    const row = await rowAt(copies, `reasoning = 'a 3'`)
    const report = await after([
      `INSERT INTO {db}.audit_events SELECT * REPLACE (1 - log_partition AS log_partition, 100000 AS log_offset)
        FROM (SELECT * FROM {db}.audit_events WHERE reasoning = 'a 3')`,
      `ALTER TABLE {db}.audit_events DELETE WHERE reasoning = 'a 3' AND log_offset < 100000`,
    ])
    expectNamed(report, row)
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'rows-changed', message: expect.stringContaining('1 event(s) removed') }),
    )
  })

  it('a view stands in the place of a table: refused', async () => {
    const view = after(
      [
        `RENAME TABLE {db}.audit_events TO {db}.real_events`,
        `CREATE VIEW {db}.audit_events AS SELECT * FROM {db}.real_events`,
      ],
      { fresh: true },
    )
    await expect(view).rejects.toMatchObject({ code: 'STORE_UNFIT', message: expect.stringContaining('View') })
    const computed = after(
      [
        `ALTER TABLE {db}.audit_events DROP COLUMN execution_time_ms`,
        `ALTER TABLE {db}.audit_events ADD COLUMN execution_time_ms Nullable(Int64) ALIAS 1`,
      ],
      { fresh: true },
    )
    await expect(computed).rejects.toMatchObject({ code: 'STORE_UNFIT', message: expect.stringContaining('ALIAS') })
  })

  it('the stored row is a forged one and its true record a duplicate: the seal says so', async () => {
    await copies.trail()
    const [duplicate] = await copies.store.rows<{ run: string; seq: number; at: number }>(
      `SELECT lower(hex(run_id)) AS run, run_seq AS seq, log_offset AS at FROM audit.audit_skipped WHERE kind = 'duplicate' LIMIT 1`,
    )
    const { run = '', seq = 0, at = 0 } = duplicate ?? {}
    const report = await after([
      `ALTER TABLE {db}.audit_events UPDATE reasoning = 'forged' WHERE run_id = unhex('${run}') AND run_seq = ${seq}`,
    ])
    expect(report.findings).toContainEqual(
      expect.objectContaining({
        code: 'conflict-decided',
        run_id: run,
        first_run_seq: seq,
        message: expect.stringMatching(`own record is the duplicate at .*/${at};.*stored in its place`),
      }),
    )
    expect(report.findings.map(({ code }) => code)).not.toContain('records-changed')
  })
})
