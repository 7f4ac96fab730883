/**
 * The data directory of an embedded trail. This file alone knows its layout: ClickHouse's files in `<dir>/clickhouse`, the
 * embedded log in `<dir>/log`.
 */
import { join } from 'node:path'
import { connectAnalytics, migrate, type MigrationReport } from '@agent-audit/analytics'
import {
  AuditUnavailableError,
  DEFAULT_DATABASE,
  detectorGrants,
  InvalidInputError,
  readerGrants,
  writerGrants,
} from '@agent-audit/schemas'
import { embeddedAvailability } from './availability.ts'
import { ADMIN, readPasswords, type UserSpec } from './clickhouse-files.ts'
import { type ClickHouseServer, startEmbedded } from './clickhouse-process.ts'
import { onDirectory } from './directory-errors.ts'
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
  /** For the consumer: inserts and reads its bookkeeping. */
  readonly writer: DataDirUser
  /** Reads the whole trail. */
  readonly reader: DataDirUser
  /** Reads the whole trail, and inserts findings. */
  readonly detector: DataDirUser
  /** Changes tables and users. */
  readonly admin: DataDirUser
  /** The migrations that this opening applied. */
  readonly migrations: MigrationReport
  /** Stops the server, if this process started it. Idempotent. */
  close(): Promise<void>
}

export interface DataDirOptions {
  /** Whether a directory without a trail becomes one. @defaultValue true */
  readonly create?: boolean | undefined
}

const WRITER = 'audit_writer'
const READER = 'audit_reader'
const DETECTOR = 'audit_detector'
type UserName = typeof WRITER | typeof READER | typeof DETECTOR

type TrailServer = ClickHouseServer<UserName>

/**
 * What one query may take from the server. The limits of memory and answers cannot be changed by the user; that of time can,
 * since the consumer sends a shorter one with each query.
 */
function limits(of: {
  readonly seconds: number
  readonly memoryGiB: number
  readonly resultGiB: number
}): Pick<UserSpec, 'settings' | 'constSettings'> {
  const settings = {
    max_execution_time: String(of.seconds),
    max_memory_usage: String(of.memoryGiB * 2 ** 30),
    max_memory_usage_for_user: String(of.memoryGiB * 2 ** 30),
    max_result_bytes: String(of.resultGiB * 2 ** 30),
  }
  return { settings, constSettings: ['max_memory_usage', 'max_memory_usage_for_user', 'max_result_bytes'] }
}

/** The users that a server of a trail has beside `admin`. */
export const TRAIL_USERS: readonly UserSpec<UserName>[] = [
  { name: WRITER, grants: writerGrants(DEFAULT_DATABASE), ...limits({ seconds: 600, memoryGiB: 2, resultGiB: 1 }) },
  { name: READER, grants: readerGrants(DEFAULT_DATABASE), ...limits({ seconds: 3600, memoryGiB: 3, resultGiB: 10 }) },
  {
    name: DETECTOR,
    grants: detectorGrants(DEFAULT_DATABASE),
    ...limits({ seconds: 3600, memoryGiB: 3, resultGiB: 10 }),
  },
]

/**
 * Opens an embedded trail: starts ClickHouse on the directory, or attaches to the server that another process runs there,
 * and brings its tables up to date. CLICKHOUSE_URL has no effect: the directory's own server is opened.
 * @param dataDir - Made if it is missing, unless `create` is false.
 * @throws InvalidInputError `OPTIONS_INVALID` if the directory holds no trail and `create` is false (then nothing is made),
 * or if this account may not use it;
 * AuditUnavailableError `PART_UNAVAILABLE` if the server does not start on this machine.
 */
export async function openDataDir(dataDir: string, { create = true }: DataDirOptions = {}): Promise<DataDir> {
  const isTrail = await onDirectory(dataDir, () => readPasswords(dataDir)[ADMIN] !== undefined)
  if (!create && !isTrail) {
    throw new InvalidInputError('OPTIONS_INVALID', `no trail in "${dataDir}": expected the data directory of npm start`)
  }
  const availability = embeddedAvailability()
  if (!availability.available) {
    throw new AuditUnavailableError('PART_UNAVAILABLE', `data directory "${dataDir}": ${availability.reason}`)
  }
  return openDataDirOn(track(await startEmbedded({ dataDir, users: TRAIL_USERS })), dataDir)
}

/**
 * Opens a trail whose server already runs: brings its tables up to date.
 * @param clickhouse - Has the {@link TRAIL_USERS}. Stopped when the trail is closed, and when it cannot be opened.
 * @param dataDir - Of the embedded log.
 */
export async function openDataDirOn(clickhouse: TrailServer, dataDir: string): Promise<DataDir> {
  const user = (name: 'admin' | UserName): DataDirUser => ({
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
      detector: user(DETECTOR),
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
