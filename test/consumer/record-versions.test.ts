/**
 * The rolling upgrade from version 1 of the record to version 2, on a real ClickHouse: first the migration, then the
 * consumers, then the producers. The old consumer is a process whose history ends at version 1.
 */
import { randomBytes } from 'node:crypto'
import { connectAnalytics, migrate, registerLog } from '@agent-audit/analytics'
import { readMigrations, SCHEMA_VERSIONS, type SchemaVersion, statementsIn, writerGrants } from '@agent-audit/schemas'
import { openEmbeddedLog } from '@agent-audit/spool'
import { clickHouseAvailability, startClickHouse } from '@agent-audit/stack'
import { makeEmbeddedTopic } from '@agent-audit/consumer'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { encodeVersion, makeRecord } from '../support/records.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const availability = clickHouseAvailability()
const WAIT = { timeout: 40_000, interval: 50 }
const NAMES = { topic: 'audit.events', groupId: 'audit-writer' }
const VERSION_1_ONLY = new URL('../support/version-1-only.ts', import.meta.url)
const [VERSION_1, VERSION_2] = SCHEMA_VERSIONS
if (VERSION_1 === undefined || VERSION_2 === undefined) throw new Error('expected two versions')
const BILLING = { on_behalf_of: 'service:billing', effect: 'unknown' }

const old = (seq: number): Buffer => encodeVersion(VERSION_1, makeRecord('old', seq))
const newer = (seq: number): Buffer => encodeVersion(VERSION_2, makeRecord('new', seq, BILLING))
/** The column writer_schema, which is signed. */
const schemaOf = ({ fingerprint }: SchemaVersion): string => String(BigInt.asIntN(64, fingerprint))

interface OldTrail {
  readonly append: (...values: Buffer[]) => void
  /** Settings of a consumer. */
  readonly environment: Record<string, string>
  readonly rows: () => Promise<Record<string, unknown>[]>
  /** Reasons of the dead letters. */
  readonly dead: () => Promise<string[]>
}

describe.skipIf(!availability.available)('an upgrade to version 2 of the record', async () => {
  if (!availability.available) return
  const database = `audit_versions_${randomBytes(6).toString('hex')}`
  const server = await startClickHouse({ users: [{ name: 'writer', grants: writerGrants(database) }] })
  const admin = connectAnalytics({ url: server.url, database, ...server.credentials.admin })
  afterAll(async () => {
    await admin.command('DROP DATABASE IF EXISTS {database:Identifier} SYNC')
    await admin.close()
    await server.stop()
  })

  /** An empty trail with the tables from before version 2. */
  const openOldTrail = async (): Promise<OldTrail> => {
    await admin.command('DROP DATABASE IF EXISTS {database:Identifier} SYNC')
    await admin.command('CREATE DATABASE {database:Identifier}')
    // Without version 2, and without the views, which have its columns.
    const before = readMigrations().filter(({ name }) => !/record_version_2|views/.test(name))
    for (const statement of before.flatMap((migration) => statementsIn(migration, database)))
      await admin.command(statement)
    const directory = makeTempDirectory()
    makeEmbeddedTopic(directory, NAMES, 1)
    const log = openEmbeddedLog({ directory })
    onTestFinished(() => log.close())
    await registerLog(admin, { sourceId: log.id, topic: NAMES.topic, consumerGroup: NAMES.groupId })
    const { username, password } = server.credentials.writer
    return {
      append: (...values) =>
        void log.append(
          NAMES.topic,
          0,
          values.map((value) => ({ key: Buffer.from('key'), value })),
        ),
      environment: {
        AUDIT_DATA_DIR: directory,
        CLICKHOUSE_URL: server.url,
        CLICKHOUSE_USER: username,
        CLICKHOUSE_PASSWORD: password,
        CLICKHOUSE_DATABASE: database,
      },
      rows: () =>
        admin.rows(
          'SELECT * REPLACE (toString(writer_schema) AS writer_schema) FROM {database:Identifier}.audit_events ORDER BY log_offset',
        ),
      dead: async () => {
        const skipped = await admin.rows<{ reason: string }>('SELECT reason FROM {database:Identifier}.audit_skipped')
        return skipped.map(({ reason }) => reason)
      },
    }
  }

  it('the new consumer refuses the old tables, and names the migration', async () => {
    const trail = await openOldTrail()
    trail.append(old(0))
    const consumer = startConsumerProcess(trail.environment)
    expect(await consumer.exited).toBe(1)
    expect(consumer.stdout + consumer.stderr).toMatch(
      /STORE_UNFIT.*audit_events lacks on_behalf_of, .*approval, which this consumer writes: run 'agent-audit setup' to apply 0006_record_version_2\.sql/,
    )
    expect(await trail.rows()).toEqual([])
  })

  it('the old consumer stores on through the migration; the new one stores both versions', async () => {
    const trail = await openOldTrail()
    const first = startConsumerProcess(trail.environment, VERSION_1_ONLY)
    trail.append(old(0))
    await expect.poll(trail.rows, WAIT).toHaveLength(1)
    await migrate(admin)
    trail.append(old(1))
    await expect.poll(trail.rows, WAIT).toHaveLength(2)
    expect(await first.kill('SIGTERM')).toBe(0)
    trail.append(old(2), newer(0), old(3), newer(1))
    startConsumerProcess(trail.environment)
    await expect.poll(trail.rows, WAIT).toHaveLength(6)
    const nothing = { on_behalf_of: null, effect: null }
    const expected = [0, 1, 2, 'new 0', 3, 'new 1'].map((record) =>
      typeof record === 'number'
        ? { reasoning: `record ${record} of old`, ...nothing, writer_schema: schemaOf(VERSION_1) }
        : { reasoning: `record ${record.slice(4)} of new`, ...BILLING, writer_schema: schemaOf(VERSION_2) },
    )
    expect(await trail.rows()).toMatchObject(expected)
    expect(await trail.dead()).toEqual([])
  })

  it('producers that are deployed too early make dead letters, whose reason says which versions the consumer knows', async () => {
    const trail = await openOldTrail()
    startConsumerProcess(trail.environment, VERSION_1_ONLY)
    trail.append(old(0), newer(0), old(1))
    await expect.poll(trail.rows, WAIT).toHaveLength(2)
    await expect
      .poll(trail.dead, WAIT)
      .toEqual([
        `unknown schema fingerprint ${VERSION_2.fingerprint.toString(16)}: this consumer knows the record up to version 1`,
      ])
  })
})
