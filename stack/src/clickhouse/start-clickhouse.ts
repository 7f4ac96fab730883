/** One way to a real ClickHouse: the server CLICKHOUSE_URL names, else the embedded one. */
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { clickHouseAvailability, findLibrary } from './availability.ts'
import type { Credentials } from './clickhouse-client.ts'
import { type Running, startEmbedded } from './clickhouse-embedded.ts'
import { attachExternal } from './clickhouse-external.ts'
import type { UserSpec } from './clickhouse-files.ts'
import { track } from './lifetime.ts'

const MAX_MEMORY_BYTES = 4_000_000_000
const USER_NAME = /^(?!(default|admin)$)[a-z_]\w*$/i

export interface ClickHouseOptions<Name extends string = string> {
  /** Where the embedded server keeps its data, made when missing. @defaultValue a temporary directory, removed by `stop`. */
  readonly dataDir?: string | undefined
  /** Users to have beside `admin`, who may do everything. Their names are identifiers: letters, digits, underscores. */
  readonly users: readonly UserSpec<Name>[]
  /** Upper bound of the embedded server's memory, bytes. @defaultValue 4,000,000,000 */
  readonly maxMemoryBytes?: number | undefined
}

export interface ClickHouseServer<Name extends string = never> extends AsyncDisposable {
  /** Such as `http://127.0.0.1:23456`. A server started again on its data directory has the same one if it is still free. */
  readonly url: string
  /** Directory of the data; empty for a server named by CLICKHOUSE_URL. */
  readonly dataDir: string
  /** By the name that was asked for; on a server named by CLICKHOUSE_URL the real user name differs. */
  readonly credentials: Readonly<Record<Name | 'admin', Credentials>>
  /** Process id of the embedded server, 0 for one named by CLICKHOUSE_URL. */
  readonly pid: number
  /** Whether somebody else runs it: `stop` and `kill` then leave it alone. */
  readonly attached: boolean
  /** Ends the server in order; it waits for running queries, and cuts them short after 20 s. */
  stop(): Promise<void>
  /** A crash: SIGKILL. The data directory can be started again. */
  kill(): Promise<void>
}

/**
 * Starts a real ClickHouse, or attaches to one: the server CLICKHOUSE_URL names (administered as CLICKHOUSE_USER with
 * CLICKHOUSE_PASSWORD; the users are made there), or the live one of the same data directory.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if there is none to be had, saying what to install or to set;
 * InvalidInputError `OPTIONS_INVALID` for a user name that is none.
 */
export async function startClickHouse<const Name extends string = never>(
  options: ClickHouseOptions<Name>,
): Promise<ClickHouseServer<Name>> {
  const wrong = options.users.find((user) => !USER_NAME.test(user.name))
  if (wrong !== undefined) {
    const message = `user name "${wrong.name}": expected letters, digits and underscores, and neither default nor admin`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  const running = await open(options)
  return track({ ...running, credentials: running.credentials as Record<Name | 'admin', Credentials> })
}

async function open(options: ClickHouseOptions): Promise<Running> {
  const url = process.env['CLICKHOUSE_URL']
  if (url) {
    const username = process.env['CLICKHOUSE_USER'] ?? 'default'
    return attachExternal(url, { username, password: process.env['CLICKHOUSE_PASSWORD'] ?? '' }, options.users)
  }
  const library = findLibrary()
  const availability = clickHouseAvailability()
  if (!availability.available || library === undefined) {
    const reason = availability.available ? 'libchdb.so is gone' : availability.reason
    throw new AuditUnavailableError('PART_UNAVAILABLE', reason)
  }
  const { dataDir, users, maxMemoryBytes = MAX_MEMORY_BYTES } = options
  return startEmbedded({ library, dataDir, users, maxMemoryBytes })
}
