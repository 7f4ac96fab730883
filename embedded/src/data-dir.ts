/**
 * The data directory of an embedded trail, the one place that knows what lies in it: ClickHouse's files in
 * `<dir>/clickhouse`, the embedded log in `<dir>/log`.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { connectAnalytics, migrate, type MigrationReport } from '@agent-audit/analytics'
import {
  AuditUnavailableError,
  DEFAULT_DATABASE,
  InvalidInputError,
  readerGrants,
  writerGrants,
} from '@agent-audit/schemas'
import { clickHouseAvailability, findLibrary } from './availability.ts'
import { startEmbedded } from './clickhouse-embedded.ts'
import { type ClickHouseServer, startClickHouse } from './clickhouse-server.ts'
import { track } from './lifetime.ts'

/** A user of the embedded ClickHouse, ready to connect with. */
export interface DataDirUser {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly database: string
}

export interface DataDir extends AsyncDisposable {
  /** Directory of the embedded log. */
  readonly logDir: string
  readonly clickhouse: ClickHouseServer
  /** The consumer: inserts and reads its bookkeeping. */
  readonly writer: DataDirUser
  /** Reads the whole trail. */
  readonly reader: DataDirUser
  /** Sets up. */
  readonly admin: DataDirUser
  /** What this opening did to the tables. */
  readonly migrations: MigrationReport
  /** Stops the server, if this process started it. Idempotent. */
  close(): Promise<void>
}

export interface DataDirOptions {
  /** Whether a directory without a trail becomes one. @defaultValue true */
  readonly create?: boolean | undefined
  /** Whether the server that CLICKHOUSE_URL names is taken, if it names one. @defaultValue false: who names a directory means that one */
  readonly namedServer?: boolean | undefined
}

const WRITER = 'audit_writer'
const READER = 'audit_reader'
const USERS = [
  { name: WRITER, grants: writerGrants(DEFAULT_DATABASE) },
  { name: READER, grants: readerGrants(DEFAULT_DATABASE) },
] as const
const MAX_MEMORY_BYTES = 4_000_000_000

/**
 * Opens an embedded trail: starts ClickHouse on the directory, or attaches to the one another process runs there, and
 * brings its tables up to date.
 * @param dataDir - Made if it is missing, unless `create` is false.
 * @throws InvalidInputError `OPTIONS_INVALID` if there is no trail and none is to be made; AuditUnavailableError
 * `PART_UNAVAILABLE` if the server does not start here.
 */
export async function openDataDir(dataDir: string, options: DataDirOptions = {}): Promise<DataDir> {
  if (options.create === false && !existsSync(join(dataDir, 'clickhouse'))) {
    throw new InvalidInputError('OPTIONS_INVALID', `no trail in "${dataDir}": expected the data directory of npm start`)
  }
  const clickhouse = await (options.namedServer === true
    ? startClickHouse({ dataDir, users: USERS })
    : startHere(dataDir))
  const user = (name: 'admin' | typeof WRITER | typeof READER): DataDirUser => ({
    url: clickhouse.url,
    database: DEFAULT_DATABASE,
    ...clickhouse.credentials[name],
  })
  try {
    await using admin = connectAnalytics(user('admin'))
    const migrations = await migrate(admin)
    return {
      logDir: join(dataDir, 'log'),
      clickhouse,
      writer: user(WRITER),
      reader: user(READER),
      admin: user('admin'),
      migrations,
      close: () => clickhouse.stop(),
      [Symbol.asyncDispose]: () => clickhouse.stop(),
    }
  } catch (error) {
    await clickhouse.stop()
    throw error
  }
}

/** The directory's own server, also where CLICKHOUSE_URL names another. */
async function startHere(dataDir: string): Promise<ClickHouseServer<typeof WRITER | typeof READER>> {
  const library = findLibrary()
  if (library === undefined) {
    const availability = clickHouseAvailability()
    const reason = availability.available ? 'the embedded ClickHouse is not installed here' : availability.reason
    throw new AuditUnavailableError('PART_UNAVAILABLE', `data directory "${dataDir}": ${reason}`)
  }
  const running = await startEmbedded({ library, dataDir, users: USERS, maxMemoryBytes: MAX_MEMORY_BYTES })
  return track(running)
}
