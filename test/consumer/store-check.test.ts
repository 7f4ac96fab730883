/** The check at start finds and names everything that would silently break exactly-once. */
import { connectAnalytics, migrate, registerLog } from '@agent-audit/analytics'
import { writerGrants } from '@agent-audit/schemas'
import { clickHouseAvailability, startClickHouse } from '@agent-audit/stack'
import { afterAll, describe, expect, it } from 'vitest'
import { runConsumer } from './support.ts'

const availability = clickHouseAvailability()

describe.skipIf(!availability.available)('on a real ClickHouse', async () => {
  if (!availability.available) return
  const database = `audit_unfit_${process.pid}`
  const clickhouse = await startClickHouse({
    users: [
      { name: 'fit', grants: writerGrants(database), settings: { async_insert: '1', max_insert_threads: '4' } },
      { name: 'old', grants: writerGrants(database).filter((grant) => !grant.includes('audit_quarantined')) },
      {
        name: 'forced',
        grants: [
          ...writerGrants(database),
          `GRANT ALTER DELETE ON ${database}.audit_events`,
          `GRANT INSERT ON ${database}.audit_expired`,
        ],
        settings: { async_insert: '1', min_insert_block_size_rows: '1000', wait_for_async_insert: '1' },
        constSettings: ['async_insert', 'min_insert_block_size_rows', 'wait_for_async_insert'],
      },
    ],
  })
  const admin = connectAnalytics({ url: clickhouse.url, database, ...clickhouse.credentials.admin })
  afterAll(async () => {
    await admin.command('DROP DATABASE IF EXISTS {database:Identifier} SYNC')
    await admin.close()
    await clickhouse.stop()
  })
  await migrate(admin)
  await registerLog(admin, { sourceId: 'nowhere', topic: 'audit.events', consumerGroup: 'audit-writer' })

  const environment = (user: 'fit' | 'old' | 'forced'): Record<string, string> => ({
    CLICKHOUSE_URL: clickhouse.url,
    CLICKHOUSE_USER: clickhouse.credentials[user].username,
    CLICKHOUSE_PASSWORD: clickhouse.credentials[user].password,
    CLICKHOUSE_DATABASE: database,
    KAFKA_BROKERS: '127.0.0.1:9',
    LOG_LEVEL: 'silent',
  })

  it('accepts a profile with other defaults: an insert sends its own settings', async () => {
    const { consumer } = runConsumer(environment('fit'))
    // The store is checked first. Then the log is out of reach.
    await expect.poll(() => consumer.status.reason, { timeout: 20_000 }).toContain('127.0.0.1:9')
  })

  it('names a grant that a new version needs at its start, not amid its work', async () => {
    const { failure } = runConsumer(environment('old'))
    await expect(failure).resolves.toMatchObject({
      code: 'ACCESS_DENIED',
      message: expect.stringContaining('audit_quarantined'),
    })
  })

  it.each([
    ['execution_time_ms', 'Nullable(Int32)', 'Nullable(Int64)'],
    ['requires_approval', 'UInt8', 'Bool'],
    ['span_id', 'Nullable(FixedString(8))', 'Nullable(String)'],
  ])('refuses a column %s of type %s, which changes what it is given, and leaves no row', async (name, type, own) => {
    const alter = (to: string): Promise<void> =>
      admin.command(`ALTER TABLE {database:Identifier}.audit_events MODIFY COLUMN ${name} ${to}`)
    await alter(type)
    const { failure } = runConsumer(environment('fit'))
    await expect(failure).resolves.toMatchObject({ code: 'STORE_UNFIT' })
    await alter(own)
    const left = await admin.rows<{ left: string }>('SELECT count() AS left FROM {database:Identifier}.audit_events')
    expect(left.map((row) => Number(row.left))).toEqual([0])
  })

  it('names missing constraints, forced settings and grants that are too wide, all at once', async () => {
    await admin.command('ALTER TABLE {database:Identifier}.audit_events DROP CONSTRAINT deadline')
    await admin.command('ALTER TABLE {database:Identifier}.audit_skipped DROP CONSTRAINT fenced_since_start')
    // It has the constraint's name, and lets every insert through.
    await admin.command('ALTER TABLE {database:Identifier}.audit_skipped ADD CONSTRAINT fenced_since_start CHECK 1')
    await admin.command('ALTER TABLE {database:Identifier}.audit_logs DROP COLUMN topic_id')
    const { failure } = runConsumer(environment('forced'))
    const error = (await failure) as Error & { code: string }
    expect(error.code).toBe('STORE_UNFIT')
    for (const finding of [
      /audit_events lacks its constraint deadline/,
      /audit_skipped lacks its constraint fenced_since_start/,
      /audit_logs lacks topic_id, which this consumer reads: run 'agent-audit setup' to apply 0010_topic_id\.sql/,
      /forbids the setting async_insert = 0/,
      /forbids the setting min_insert_block_size_rows = 1000000000/,
      /revoke .*ALTER DELETE ON/,
      /revoke .*INSERT ON \S+\.audit_expired/,
    ])
      expect(error.message).toMatch(finding)
    expect(error.message).not.toMatch(/wait_for_async_insert|audit_events lacks its constraint fenced/)
  })
})
