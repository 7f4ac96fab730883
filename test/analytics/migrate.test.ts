/** Setting up a database: migrations, logs, grants; and the errors when the server refuses. */
import { checkGrants, connectAnalytics, migrate, registerLog, sessions } from '@agent-audit/analytics'
import { readMigrations } from '@agent-audit/schemas'
import { beforeAll, describe, expect, it } from 'vitest'
import { execute } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

const NAMES = readMigrations().map(({ name }) => name)
const LOG = { sourceId: 'cluster-1', topic: 'audit.events', consumerGroup: 'audit-writer' }

describe.skipIf(NO_CLICKHOUSE !== undefined)(`setting up ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('makes the database and its tables once', async () => {
    const admin = tests.connect()
    expect(await migrate(admin)).toEqual({ applied: NAMES, present: 0 })
    expect(await migrate(admin)).toEqual({ applied: [], present: NAMES.length })
    const noted = await admin.rows('SELECT name, sha256 FROM {database:Identifier}.audit_migrations ORDER BY name')
    expect(noted).toEqual(readMigrations().map(({ name, sha256 }) => ({ name, sha256 })))
  })

  it('several at once all succeed, with the same result as one', async () => {
    const trail = await tests.newTrail()
    const fresh = tests.connect('admin', `${trail.database}_x`)
    const reports = await Promise.all(Array.from({ length: 6 }, () => migrate(fresh)))
    expect(reports).toHaveLength(6)
    expect(await migrate(fresh)).toEqual({ applied: [], present: NAMES.length })
    await execute(trail.server, `DROP DATABASE ${trail.database}_x SYNC`)
  })

  it('goes on where a crash between a statement and its note left off', async () => {
    const trail = await tests.newTrail()
    await execute(trail.server, `ALTER TABLE audit_migrations DELETE WHERE name = '${NAMES.at(-1)}'`, {
      mutations_sync: '1',
    })
    expect(await migrate(trail)).toEqual({ applied: [NAMES.at(-1)], present: NAMES.length - 1 })
  })

  it('refuses when an applied migration was edited, names the file, and applies nothing', async () => {
    const trail = await tests.newTrail()
    await execute(trail.server, `ALTER TABLE audit_migrations UPDATE sha256 = 'other' WHERE name = '${NAMES[1]}'`, {
      mutations_sync: '1',
    })
    await execute(trail.server, `ALTER TABLE audit_migrations DELETE WHERE name = '${NAMES[0]}'`, {
      mutations_sync: '1',
    })
    await expect(migrate(trail)).rejects.toMatchObject({
      code: 'MIGRATION_CHANGED',
      message: expect.stringContaining(NAMES[1] ?? '') as string,
    })
    const noted = await trail.rows(`SELECT name FROM {database:Identifier}.audit_migrations WHERE name = '${NAMES[0]}'`)
    expect(noted).toEqual([])
  })

  it('a log has one consumer group', async () => {
    const trail = await tests.newTrail()
    const { logId, added } = await registerLog(trail, LOG)
    expect(added).toBe(true)
    expect(logId).toMatch(/^[0-9a-f]{16}$/)
    expect(await registerLog(trail, LOG)).toEqual({ logId, added: false })
    await expect(registerLog(trail, { ...LOG, consumerGroup: 'second' })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
      message: expect.stringMatching(/audit-writer.*second/) as string,
    })
    expect((await registerLog(trail, { ...LOG, sourceId: 'cluster-2' })).logId).not.toBe(logId)
    await expect(registerLog(trail, { ...LOG, topic: 'other', consumerGroup: 'second' })).resolves.toMatchObject({
      added: true,
    })
  })

  it('a log keeps the id of its topic: noted by the first registration that knows it, refused where it is another one', async () => {
    const trail = await tests.newTrail()
    const { logId } = await registerLog(trail, LOG)
    expect(await registerLog(trail, { ...LOG, topicId: 'first' })).toEqual({ logId, added: false })
    expect(await registerLog(trail, { ...LOG, topicId: 'first' })).toEqual({ logId, added: false })
    // Brokers that tell no ids.
    expect(await registerLog(trail, LOG)).toEqual({ logId, added: false })
    await expect(registerLog(trail, { ...LOG, topicId: 'second' })).rejects.toMatchObject({
      code: 'LOG_REPLACED',
      message: expect.stringMatching(/was made anew: its id is second, and the rows are of first/) as string,
    })
    await expect(registerLog(trail, { ...LOG, consumerGroup: 'second', topicId: 'first' })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
    })
    const rows = await trail.rows(
      `SELECT topic_id FROM {database:Identifier}.audit_logs WHERE log_id = unhex({logId:String}) ORDER BY registered_at`,
      { logId },
    )
    expect(rows).toEqual([{ topic_id: '' }, { topic_id: 'first' }])
  })

  it('two groups that register at once: one holds the log, and both say the same', async () => {
    const trail = await tests.newTrail()
    const groups = ['a', 'b', 'c', 'd']
    const settled = await Promise.allSettled(
      groups.map((consumerGroup) => registerLog(trail, { ...LOG, consumerGroup })),
    )
    expect(settled.some(({ status }) => status === 'fulfilled')).toBe(true)
    const again = await Promise.allSettled(groups.map((consumerGroup) => registerLog(trail, { ...LOG, consumerGroup })))
    expect(again.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('a writer with the right grants passes the check; a writer who may delete does not', async () => {
    await migrate(tests.connect())
    await checkGrants(tests.connect('writer'), 'writer')
    await expect(checkGrants(tests.connect('wide'), 'writer')).rejects.toMatchObject({
      code: 'GRANTS_TOO_WIDE',
      message: expect.stringContaining('ALTER DELETE') as string,
    })
    await expect(checkGrants(tests.connect('admin'), 'writer')).rejects.toMatchObject({ code: 'GRANTS_TOO_WIDE' })
  })

  it('says what to do when the server is unreachable, the password wrong, or the tables missing', async () => {
    const server = tests.server()
    await using away = connectAnalytics({ ...server, url: 'http://127.0.0.1:1' })
    await expect(sessions(away)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining(
        'ClickHouse at 127.0.0.1:1 cannot be reached: ECONNREFUSED (asked as user',
      ) as string,
    })
    await using stranger = connectAnalytics({ ...server, password: 'guess' })
    await expect(sessions(stranger)).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      message: expect.stringContaining(`refuses user "${server.username}": wrong password`) as string,
    })
    await expect(sessions(tests.connect('admin', 'not_there'))).rejects.toMatchObject({
      code: 'STORE_REFUSED',
      message: expect.stringContaining('agent-audit setup') as string,
    })
    await expect(sessions(tests.connect('writer'))).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    expect(() => connectAnalytics({ ...server, url: 'localhost:8123' })).toThrow(
      /ClickHouse URL: expected a URL such as http/,
    )
  })
})
