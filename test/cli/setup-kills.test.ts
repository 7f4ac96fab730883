/**
 * `agent-audit setup` is killed at each of its statements, and runs again: no migration stays half done. One database is enough
 * for all kills at one moment: the next setup goes on where the killed one was, and is killed at the next statement.
 */
import { connectAnalytics, migrate, registerLog } from '@agent-audit/analytics'
import { readMigrations, writerGrants } from '@agent-audit/schemas'
import { clickHouseAvailability, startClickHouse } from '@agent-audit/stack'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Server } from '../analytics/seed.ts'
import { runConsumer } from '../consumer/support.ts'
import { type SetupProcess, startSetup, type StatementRule } from './setup-process.ts'

/** The statements of a first setup that change something: for each migration its own, and its note. */
const STATEMENTS = 2 + readMigrations().reduce((sum, { statements }) => sum + statements.length + 1, 0)
const NAMES = ['calm', 'unanswered', 'late', 'pair'] as const
type Name = (typeof NAMES)[number]
/** Some twenty starts of a process, each 0.4 s on a quiet machine. */
const TIMEOUT_MS = 300_000
const databaseOf = (name: Name): string => `audit_setup_${process.pid}_${name}`
const expectDone = async (setup: SetupProcess): Promise<void> => {
  expect([await setup.ended, setup.output]).toEqual([0, expect.stringMatching(/migration|applied/)])
}
const availability = clickHouseAvailability()

describe.skipIf(!availability.available)('setup that is killed', async () => {
  if (!availability.available) return
  const clickhouse = await startClickHouse({
    users: NAMES.map((name) => ({ name: `writer_${name}` as const, grants: writerGrants(databaseOf(name)) })),
  })
  const at = (name: Name): Server => ({
    url: clickhouse.url,
    database: databaseOf(name),
    ...clickhouse.credentials.admin,
  })
  afterAll(async () => {
    await using admin = connectAnalytics({ ...at('calm'), database: 'default' })
    for (const name of NAMES) await admin.command(`DROP DATABASE IF EXISTS ${databaseOf(name)} SYNC`)
    await clickhouse.stop()
  })

  const schemaOf = async (name: Name): Promise<unknown[][]> => {
    await using admin = connectAnalytics(at(name))
    const ofDatabase = `WHERE database = {database:String} ORDER BY`
    return Promise.all([
      admin.rows(`SELECT name, engine, sorting_key, partition_key,
        replaceAll(create_table_query, {database:String}, 'audit') AS statement FROM system.tables ${ofDatabase} name`),
      admin.rows(`SELECT * EXCEPT(database, data_compressed_bytes, data_uncompressed_bytes, marks_bytes)
        FROM system.columns ${ofDatabase} table, position`),
      admin.rows('SELECT DISTINCT name, sha256 FROM {database:Identifier}.audit_migrations ORDER BY name'),
    ])
  }
  /** The consumer checks the tables first. Then it looks for a log, which is out of reach here. */
  const expectFitForConsumer = async (name: Name): Promise<void> => {
    await using admin = connectAnalytics(at(name))
    await registerLog(admin, { sourceId: 'nowhere', topic: 'audit.events', consumerGroup: 'audit-writer' })
    const { username, password } = clickhouse.credentials[`writer_${name}`]
    const { consumer } = runConsumer({
      CLICKHOUSE_URL: clickhouse.url,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: databaseOf(name),
      KAFKA_BROKERS: '127.0.0.1:9',
      LOG_LEVEL: 'silent',
    })
    await expect.poll(() => consumer.status.reason).toContain('127.0.0.1:9')
  }

  let calm: unknown[][]
  beforeAll(async () => {
    await using admin = connectAnalytics(at('calm'))
    await migrate(admin)
    calm = await schemaOf('calm')
  })

  /** Kills a setup at its first statement that none has been killed at. `at` sees the statement first. */
  const killNext = async (name: Name, killed: Set<string>, reach: StatementRule): Promise<void> => {
    const reached = Promise.withResolvers<void>()
    const rule: StatementRule = async (statement, send) => {
      if (killed.has(statement)) return send()
      killed.add(statement)
      await reach(statement, send)
      reached.resolve()
      return undefined
    }
    const setup = await startSetup(at(name), { rule })
    const completed = setup.ended.then(() => Promise.reject(new Error(`not killed at all: ${setup.output}`)))
    await Promise.race([reached.promise, completed])
    completed.catch(() => undefined)
    expect(await setup.kill()).toBe('SIGKILL')
  }

  /** Runs a setup to its end: it sends no statement that none was killed at. */
  const complete = async (name: Name, killed: ReadonlySet<string>): Promise<void> => {
    const others: string[] = []
    const rule: StatementRule = (statement, send) => {
      if (!killed.has(statement)) others.push(statement)
      return send()
    }
    await expectDone(await startSetup(at(name), { rule }))
    expect(others).toEqual([])
  }

  it(
    'each statement carried out, and none answered: the next setup completes the schema',
    { timeout: TIMEOUT_MS },
    async () => {
      const killed = new Set<string>()
      while (killed.size < STATEMENTS) await killNext('unanswered', killed, (_, send) => send())
      await complete('unanswered', killed)
      expect(await schemaOf('unanswered')).toEqual(calm)
      await expectFitForConsumer('unanswered')
    },
  )

  it(
    'no statement carried out before the next setup has ended: then they change nothing any more',
    { timeout: TIMEOUT_MS },
    async () => {
      const killed = new Set<string>()
      const late: (() => Promise<unknown>)[] = []
      while (killed.size < STATEMENTS) await killNext('late', killed, async (_, send) => void late.push(send))
      await complete('late', killed)
      expect(await schemaOf('late')).toEqual(calm)
      for (const send of late) await send()
      expect(await schemaOf('late')).toEqual(calm)
      await expectFitForConsumer('late')
    },
  )

  it('two at once, each statement at the same moment, both succeed', async () => {
    const waiting = new Map<string, () => void>()
    const together: StatementRule = async (statement, send) => {
      const other = waiting.get(statement)
      waiting.delete(statement)
      if (other === undefined) await new Promise<void>((resolve) => waiting.set(statement, resolve))
      else other()
      return send()
    }
    const setups = await Promise.all([1, 2].map(() => startSetup(at('pair'), { rule: together })))
    await Promise.all(setups.map(expectDone))
    expect(await schemaOf('pair')).toEqual(calm)
    await expectFitForConsumer('pair')
  })
})
