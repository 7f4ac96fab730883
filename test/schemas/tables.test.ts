/** The guarantees of the tables alone, on a real server: an insert that must not land leaves no row. */
import { type Analytics, migrate } from '@agent-audit/analytics'
import {
  EVENTS_TABLE,
  EXPIRED_RUNS_TABLE,
  EXPIRED_TABLE,
  NEWEST_SCHEMA,
  readMigrations,
  SKIPPED_TABLE,
} from '@agent-audit/schemas'
import { beforeAll, describe, expect, it } from 'vitest'
import { execute, lease, runId, seedEvents, seedSkipped, type Server } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'

const COLUMN_TYPES: Readonly<Record<string, string>> = {
  string: 'String',
  uuid: 'UUID',
  long: 'Int64',
  double: 'Float64',
  boolean: 'Bool',
}
/** Columns with a type that is narrower than the Avro type. */
const SPECIAL: Readonly<Record<string, string>> = {
  timestamp: "DateTime64(6, 'UTC')",
  event_type: 'LowCardinality(String)',
  agent_id: 'LowCardinality(String)',
}
const PIPELINE = ['log_id', 'log_partition', 'log_offset', 'log_time', 'writer_schema']
const REFUSED = /Code: 469/

/** Statements that note a range as expired. */
const noteOffsets = (first: number, last: number, month: string): string =>
  `INSERT INTO ${EXPIRED_TABLE} (log_id, first_offset, last_offset, retention_class, month)
   SELECT 'seed', ${first}, ${last}, 'default', ${month}`
const noteNumbers = (first: number, last: number, month: string): string =>
  `INSERT INTO ${EXPIRED_RUNS_TABLE} (run_id, first_run_seq, last_run_seq, kind, retention_class, month)
   SELECT unhex('${runId(1)}'), ${first}, ${last}, 'event', 'default', ${month}`

it('migrations may run again: every CREATE says IF NOT EXISTS', () => {
  const statements = readMigrations().flatMap((migration) => migration.statements)
  expect(statements.filter((statement) => /^CREATE (?!.*IF NOT EXISTS)/m.test(statement))).toEqual([])
  expect(statements.length).toBeGreaterThanOrEqual(3)
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`tables on a real server ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  let admin: Analytics
  let server: Server

  beforeAll(async () => {
    tests = await startTestServer()
    admin = tests.connect()
    server = tests.server()
    await migrate(admin)
  })

  const rowsOf = async (table: string): Promise<number> => Number(await execute(server, `SELECT count() FROM ${table}`))
  /** Inserts one valid row under the given settings, and expects one row more, or none if it is refused. @returns the answer. */
  const refusalOf = async (table: string, settings: Record<string, string>): Promise<string> => {
    const before = await rowsOf(table)
    const row =
      table === EVENTS_TABLE ? `(run_id, event_type) VALUES (unhex('${runId(7)}'), 'x')` : `(kind) VALUES ('hole')`
    const answer = await execute(server, `INSERT INTO ${table} ${row}`, settings).then(
      () => 'stored',
      (error: unknown) => String(error),
    )
    expect(await rowsOf(table)).toBe(answer === 'stored' ? before + 1 : before)
    return answer
  }
  const clock = async (): Promise<number> => Number((await lease(server)).log_comment.split(' ')[0])

  it('audit_events has the record field by field, in the order and types of the Avro schema', async () => {
    const columns = await admin.rows<{ name: string; type: string }>(
      `SELECT name, type FROM system.columns
       WHERE database = {database:String} AND table = '${EVENTS_TABLE}' AND default_kind = '' ORDER BY position`,
    )
    const expected = NEWEST_SCHEMA.fields.map(({ name, kind, size, optional }) => {
      const type = kind === 'fixed' ? `FixedString(${size})` : (SPECIAL[name] ?? COLUMN_TYPES[kind])
      return { name, type: optional ? `Nullable(${type})` : type }
    })
    expect(columns.slice(0, expected.length)).toEqual(expected)
    expect(columns.slice(expected.length).map(({ name }) => name)).toEqual(PIPELINE)
  })

  it.each([EVENTS_TABLE, SKIPPED_TABLE])('%s is ordered by the position in the log, its primary key', async (table) => {
    const keys = await admin.rows(
      `SELECT sorting_key, primary_key FROM system.tables WHERE database = {database:String} AND name = '${table}'`,
    )
    const position = 'log_id, log_partition, log_offset'
    expect(keys).toEqual([{ sorting_key: position, primary_key: position }])
  })

  it.each([EVENTS_TABLE, SKIPPED_TABLE])('%s is partitioned by retention class and month', async (table) => {
    const keys = await admin.rows(
      `SELECT partition_key FROM system.tables WHERE database = {database:String} AND name = '${table}'`,
    )
    expect(keys).toEqual([{ partition_key: '(retention_class, toYYYYMM(log_time))' }])
  })

  describe.each([EVENTS_TABLE, SKIPPED_TABLE])('an insert into %s', (table) => {
    it('is stored before its deadline', async () => {
      expect(await refusalOf(table, await lease(server))).toBe('stored')
    })

    it('is refused after its deadline', async () => {
      const now = await clock()
      expect(await refusalOf(table, { log_comment: `${now - 1000} ${now - 1}` })).toMatch(REFUSED)
    })

    it.each([{}, { log_comment: '' }, { log_comment: 'nonsense' }, { log_comment: '99999999999999' }])(
      'is refused without a deadline: %j',
      async (settings) => {
        expect(await refusalOf(table, settings)).toMatch(REFUSED)
      },
    )

    it('is refused with a lease from before the server started', async () => {
      const now = await clock()
      const uptimeMs = Number(await execute(server, 'SELECT uptime()')) * 1000
      const answer = await refusalOf(table, { log_comment: `${now - uptimeMs - 5000} ${now + 20_000}` })
      expect(answer).toMatch(REFUSED)
      expect(answer).toContain('fenced_since_start')
    })
  })

  const texts = NEWEST_SCHEMA.fields.filter(({ kind }) => kind === 'string')
  it.each(texts.map(({ name }) => name))('invalid UTF-8 in %s is refused, with the whole insert', async (name) => {
    const before = await rowsOf(EVENTS_TABLE)
    const insert = `INSERT INTO ${EVENTS_TABLE} (run_id, run_seq, ${name}) VALUES
      (unhex('${runId(8)}'), 0, 'fine'), (unhex('${runId(8)}'), 1, unhex('66C328'))`
    await expect(execute(server, insert, await lease(server))).rejects.toThrow(/Code: 469.*text_is_utf8/s)
    expect(await rowsOf(EVENTS_TABLE)).toBe(before)
  })

  it('the writer inserts and reads its bookkeeping, and no content', async () => {
    const writer = tests.server('writer')
    await seedEvents(writer, [{ log_offset: 100, output_text: 'secret' }])
    await seedSkipped(writer, [{ kind: 'hole', log_offset: 101 }])
    const kept = await execute(writer, `SELECT run_seq FROM ${EVENTS_TABLE} WHERE log_offset = 100`)
    expect(kept.trim()).toBe('0')
    await expect(execute(writer, `SELECT output_text FROM ${EVENTS_TABLE}`)).rejects.toThrow(/Code: 497/)
    await expect(execute(writer, `SELECT value FROM ${SKIPPED_TABLE}`)).rejects.toThrow(/Code: 497/)
  })

  const FORBIDDEN = [EVENTS_TABLE, SKIPPED_TABLE].flatMap((table) => [
    `ALTER TABLE ${table} UPDATE run_seq = 9 WHERE 1`,
    `UPDATE ${table} SET run_seq = 9 WHERE 1`,
    `ALTER TABLE ${table} DELETE WHERE 1`,
    `DELETE FROM ${table} WHERE 1`,
    `TRUNCATE TABLE ${table}`,
    `DROP TABLE ${table}`,
    `DETACH TABLE ${table}`,
    `OPTIMIZE TABLE ${table} FINAL`,
    `RENAME TABLE ${table} TO stolen`,
    `ALTER TABLE ${table} DROP CONSTRAINT deadline`,
    `ALTER TABLE ${table} DROP PARTITION tuple()`,
    `ALTER TABLE ${table} MODIFY TTL log_time + INTERVAL 1 SECOND`,
    `ALTER TABLE ${table} ADD COLUMN x Int8`,
    `CREATE TABLE copy AS ${table}`,
  ])
  it.each(FORBIDDEN)('the writer is refused: %s', async (statement) => {
    await expect(execute(tests.server('writer'), statement)).rejects.toThrow(/Code: 497/)
  })

  describe('expiry notes', () => {
    const LAST_MONTH = `toYYYYMM(now('UTC') - INTERVAL 1 MONTH)`

    it.each([
      ['offsets', noteOffsets],
      ['numbers of runs', noteNumbers],
    ])('of %s are whole ranges of a month that is over', async (_what, insert) => {
      await expect(execute(server, insert(3, 5, LAST_MONTH))).resolves.toBe('')
      await expect(execute(server, insert(3, 2, LAST_MONTH))).rejects.toThrow(/Code: 469.*range_is_valid/s)
      await expect(execute(server, insert(-1, 2, LAST_MONTH))).rejects.toThrow(/Code: 469.*range_is_valid/s)
      await expect(execute(server, insert(3, 5, `toYYYYMM(now('UTC'))`))).rejects.toThrow(/Code: 469.*month_is_over/s)
    })

    it('are written by no writer, and those of offsets are read by it', async () => {
      const writer = tests.server('writer')
      await expect(execute(writer, noteOffsets(0, 9, '202001'))).rejects.toThrow(/Code: 497/)
      await expect(execute(writer, noteNumbers(0, 9, '202001'))).rejects.toThrow(/Code: 497/)
      await expect(execute(writer, `ALTER TABLE ${EXPIRED_TABLE} DELETE WHERE 1`)).rejects.toThrow(/Code: 497/)
      const read = `SELECT log_id, log_partition, first_offset, last_offset FROM ${EXPIRED_TABLE} LIMIT 0`
      await expect(execute(writer, read)).resolves.toBe('')
    })
  })

  it('the admin may run them: the refusals above are about rights, not syntax', async () => {
    const own = await tests.newTrail()
    await seedEvents(own.server, [{ log_offset: 0 }])
    const statements = [
      `ALTER TABLE ${EVENTS_TABLE} DELETE WHERE 1`,
      `TRUNCATE TABLE ${EVENTS_TABLE}`,
      `DROP TABLE ${EVENTS_TABLE}`,
    ]
    for (const statement of statements) await expect(execute(own.server, statement)).resolves.toBe('')
  })
})
