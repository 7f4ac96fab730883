/** A ClickHouse for the tests of a file, with databases of their own. */
import { randomBytes } from 'node:crypto'
import { type Analytics, connectAnalytics, migrate, registerLog } from '@agent-audit/analytics'
import { detectorGrants, readerGrants, writerGrants } from '@agent-audit/schemas'
import { clickHouseAvailability, type ClickHouseServer, startClickHouse } from '@agent-audit/stack'
import { afterAll } from 'vitest'
import { type Server, SOURCE_ID, TOPIC } from './seed.ts'

export type UserName = 'admin' | 'writer' | 'reader' | 'detector' | 'wide'

const availability = clickHouseAvailability()
/** Why these tests cannot run here; undefined if they can. */
export const NO_CLICKHOUSE: string | undefined = availability.available ? undefined : availability.reason

export interface TestServer {
  readonly clickhouse: ClickHouseServer<Exclude<UserName, 'admin'>>
  /** The database that the users have their rights in. */
  readonly database: string
  /** How to reach a database as a user. Default: that database, as the admin. */
  server(user?: UserName, database?: string): Server
  /** A connection, closed after the last test of the file. */
  connect(user?: UserName, database?: string): Analytics
  /** A connection of the admin to a new database with all tables and a registered log. */
  newTrail(): Promise<Analytics & { readonly server: Server }>
  /** The same, in the database that the users have their rights in, which is made anew. */
  emptyTrail(): Promise<Analytics & { readonly server: Server }>
}

/** Starts a server for the tests of one file. */
export async function startTestServer(): Promise<TestServer> {
  const database = newName()
  const clickhouse = await startClickHouse({
    users: [
      { name: 'writer', grants: writerGrants(database) },
      { name: 'reader', grants: readerGrants(database), settings: { readonly: '1' } },
      { name: 'detector', grants: detectorGrants(database) },
      { name: 'wide', grants: [...writerGrants(database), `GRANT ALTER DELETE ON ${database}.audit_events`] },
    ],
  })
  const open: Analytics[] = []
  const databases = [database]
  afterAll(async () => {
    await using admin = connectAnalytics({ ...server('admin'), database: 'default' })
    for (const name of databases) await admin.command(`DROP DATABASE IF EXISTS ${name} SYNC`)
    await Promise.all(open.map((analytics) => analytics.close()))
    await clickhouse.stop()
  })
  const server = (user: UserName = 'admin', name: string = database): Server => ({
    url: clickhouse.url,
    database: name,
    ...clickhouse.credentials[user],
  })
  const connect = (user: UserName = 'admin', name: string = database): Analytics => {
    const analytics = connectAnalytics(server(user, name))
    open.push(analytics)
    return analytics
  }
  const made = async (name: string): Promise<Analytics & { readonly server: Server }> => {
    const analytics = connect('admin', name)
    await migrate(analytics)
    await registerLog(analytics, { sourceId: SOURCE_ID, topic: TOPIC, consumerGroup: 'audit-writer' })
    return { ...analytics, server: server('admin', name) }
  }
  const newTrail: TestServer['newTrail'] = () => {
    const name = newName()
    databases.push(name)
    return made(name)
  }
  const emptyTrail: TestServer['emptyTrail'] = async () => {
    await using admin = connectAnalytics(server('admin', 'default'))
    await admin.command(`DROP DATABASE IF EXISTS ${database} SYNC`)
    return made(database)
  }
  return { clickhouse, database, server, connect, newTrail, emptyTrail }
}

function newName(): string {
  return `audit_test_${randomBytes(6).toString('hex')}`
}
