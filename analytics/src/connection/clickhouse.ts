/**
 * The connection to ClickHouse: queries in, plain rows out, the server's refusals as errors that say what to do. It sends no
 * settings, so that a user with a read-only profile can read the trail.
 */
import {
  AuditUnavailableError,
  DEFAULT_DATABASE,
  IntegrityError,
  InvalidInputError,
  type TrailError,
} from '@agent-audit/schemas'
import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client'

export interface AnalyticsOptions {
  /** HTTP interface, such as `http://localhost:8123`. */
  readonly url: string
  readonly username: string
  readonly password: string
  /** @defaultValue `audit` */
  readonly database?: string | undefined
  /** Longest wait for one answer, milliseconds. @defaultValue 120000 */
  readonly requestTimeoutMs?: number | undefined
}

/** A connection to one trail. Opens no socket before its first query. */
export interface Analytics extends AsyncDisposable {
  /** Host and port, for messages. */
  readonly address: string
  readonly database: string
  /**
   * Runs a query and returns its rows as plain objects.
   * @throws AuditUnavailableError `STORE_UNAVAILABLE` if the server cannot be reached; IntegrityError `ACCESS_DENIED` if
   * it refuses the user; InvalidInputError `STORE_REFUSED` if the tables do not exist, IntegrityError `STORE_REFUSED` for
   * any other refusal.
   */
  rows<Row>(query: string, parameters?: Record<string, unknown>): Promise<Row[]>
  /** Runs a statement without an answer, such as DDL. Throws as {@link Analytics.rows} does. */
  command(statement: string, parameters?: Record<string, unknown>): Promise<void>
  close(): Promise<void>
}

const DEFAULT_REQUEST_TIMEOUT_MS = 120_000

/** Codes of ClickHouse's ErrorCodes.cpp. */
const DENIED = new Set(['192', '193', '194', '497', '516'])
const MISSING = new Set(['60', '81'])

/**
 * Connects to the ClickHouse that holds the trail.
 * @throws InvalidInputError `OPTIONS_INVALID` if the URL is not an http or https URL.
 */
export function connectAnalytics(options: AnalyticsOptions): Analytics {
  const address = addressOf(options.url)
  const database = options.database ?? DEFAULT_DATABASE
  const client = createClient({
    url: options.url,
    username: options.username,
    password: options.password,
    application: 'agent-audit',
    request_timeout: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
    log: { level: ClickHouseLogLevel.OFF },
  })
  const server = { address, database, username: options.username }
  return {
    address,
    database,
    rows: (query, parameters) => explained(server, () => readRows(client, database, query, parameters)),
    command: (statement, parameters) => explained(server, () => runCommand(client, database, statement, parameters)),
    close: () => client.close(),
    [Symbol.asyncDispose]: () => client.close(),
  }
}

async function readRows<Row>(
  client: ClickHouseClient,
  database: string,
  query: string,
  parameters: Record<string, unknown> = {},
): Promise<Row[]> {
  const query_params = { database, ...parameters }
  const result = await client.query({ query, query_params, format: 'JSONEachRow' })
  return await result.json<Row>()
}

async function runCommand(
  client: ClickHouseClient,
  database: string,
  query: string,
  parameters: Record<string, unknown> = {},
): Promise<void> {
  await client.command({ query, query_params: { database, ...parameters } })
}

interface Server {
  readonly address: string
  readonly database: string
  readonly username: string
}

async function explained<T>(server: Server, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw explain(server, error)
  }
}

function explain({ address, database, username }: Server, cause: unknown): TrailError {
  if (!(cause instanceof ClickHouseError)) {
    const told = cause instanceof Error ? ((cause as { code?: string }).code ?? cause.message) : String(cause)
    return new AuditUnavailableError('STORE_UNAVAILABLE', `ClickHouse at ${address} cannot be reached: ${told}`, {
      cause,
    })
  }
  const said = (cause.message.split('\n', 1)[0] ?? '').slice(0, 500)
  if (cause.code === '516') {
    const message = `ClickHouse at ${address} refuses user "${username}": wrong password, or no such user`
    return new IntegrityError('ACCESS_DENIED', message, { cause })
  }
  if (DENIED.has(cause.code)) {
    return new IntegrityError('ACCESS_DENIED', `ClickHouse at ${address} refuses user "${username}": ${said}`, {
      cause,
    })
  }
  if (MISSING.has(cause.code)) {
    const message = `ClickHouse at ${address} holds no trail in database "${database}": run \`agent-audit setup\` first (${said})`
    return new InvalidInputError('STORE_REFUSED', message, { cause })
  }
  return new IntegrityError('STORE_REFUSED', `ClickHouse at ${address} refused: ${said} (code ${cause.code})`, {
    cause,
  })
}

function addressOf(url: string): string {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      `ClickHouse URL: expected one like http://localhost:8123, got "${url}"`,
    )
  }
  return new URL(url).host
}
