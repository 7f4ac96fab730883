/**
 * The connection to ClickHouse: queries in, rows out, the server's refusals as errors that say what to do. Queries are
 * read-only by the server, whatever the user may do.
 */
import type { Readable } from 'node:stream'
import { type DataKeyStore, FieldReader } from '@agent-audit/erasure'
import {
  type ClientTls,
  DEFAULT_DATABASE,
  endpointOf,
  httpsAgent,
  InvalidInputError,
  IntegrityError,
  storeError,
  TrailError,
  urlFault,
} from '@agent-audit/schemas'
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { readAnswer } from './answer.ts'
import { Watch } from './watch.ts'

export interface AnalyticsOptions {
  /** HTTP interface, such as `http://localhost:8123`; a path is allowed, a user, a password or parameters are not. */
  readonly url: string
  readonly username: string
  readonly password: string
  /** TLS of an https URL: a private CA, a client certificate with its key. @defaultValue the certificates that Node trusts */
  readonly ssl?: ClientTls | undefined
  /** @defaultValue `audit` */
  readonly database?: string | undefined
  /** Data keys of encrypted fields: with them events are read in clear text, and erased fields as `[erased]`. */
  readonly keys?: DataKeyStore | undefined
  /** Longest wait for the next part of an answer, milliseconds. @defaultValue 120000 */
  readonly requestTimeoutMs?: number | undefined
}

/** Checks a row and gives it its type, or throws: a zod schema is one. */
export interface RowSchema<Row> {
  parse(row: unknown): Row
}

export interface QueryOptions<Row> {
  /** The type of a row. Its values are as JSON has them; an integer that a double cannot hold is a bigint. */
  readonly schema: RowSchema<Row>
  /** Values of the query's parameters, `{name:Type}`. `database` is always there: `{database:Identifier}.audit_events`. */
  readonly params?: Readonly<Record<string, unknown>> | undefined
  /** Ends the query, also on the server; the iteration throws the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Longest wait for the next part of the answer, milliseconds. The caller's own work on a row does not count. @defaultValue requestTimeoutMs */
  readonly timeoutMs?: number | undefined
}

export interface BytesOptions extends Omit<QueryOptions<never>, 'schema'> {
  /** Avro: rows as they were inserted; not compressed, unless the user's profile takes no settings. */
  readonly format: 'Parquet' | 'Avro'
}

/** A connection to one trail. Opens no socket before its first query. */
export interface Analytics extends AsyncDisposable {
  /** Host and port, for messages. */
  readonly address: string
  readonly database: string
  /** Decrypts the fields of events, if the connection has data keys. */
  readonly fields: FieldReader
  /**
   * Streams the rows of a query, in bounded memory: the server waits while the caller works on a row. Leaving the loop ends
   * the query on the server too. It is sent when the iteration begins. A caller that works longer than the server's
   * `send_timeout` (5 minutes by default) on one row loses the rest, with `STORE_UNAVAILABLE`.
   *
   * ```ts
   * const schema = z.object({ agent_id: z.string(), calls: z.number() })
   * const sql = `SELECT agent_id, count() AS calls FROM {database:Identifier}.audit_events WHERE tool_name = {tool:String} GROUP BY agent_id`
   * for await (const { agent_id, calls } of analytics.query(sql, { schema, params: { tool: 'refund' } })) …
   * ```
   * @throws as {@link Analytics.rows}, also after some rows; IntegrityError `STORE_REFUSED` for a row that does not fit the schema.
   */
  query<Row>(sql: string, options: QueryOptions<Row>): AsyncGenerator<Row, void, undefined>
  /**
   * Streams the answer of a query in a format of ClickHouse, as the server writes it, in bounded memory. An error of the
   * server amid the answer ends the iteration with an error: the bytes so far are then no whole file.
   * @throws as {@link Analytics.rows}, also after some bytes.
   */
  bytes(sql: string, options: BytesOptions): AsyncGenerator<Buffer, void, undefined>
  /**
   * The rows of a query whose answer is short, unchecked.
   * @throws AuditUnavailableError `STORE_UNAVAILABLE` if the server cannot be reached, `STORE_LIMIT` at a limit or time-out,
   * `STORE_REFUSED` for an error of the server that may pass; IntegrityError `ACCESS_DENIED` if the server refuses the user
   * or a write, `STORE_REFUSED` if the tables do not exist or the query is wrong.
   */
  rows<Row>(query: string, parameters?: Record<string, unknown>): Promise<Row[]>
  /** Runs a statement without an answer, such as DDL. Throws as {@link Analytics.rows} does. */
  command(statement: string, parameters?: Record<string, unknown>): Promise<void>
  close(): Promise<void>
}

const DEFAULT_REQUEST_TIMEOUT_MS = 120_000
/** The connection's own timers count: they know how long the caller works on a row. */
const NO_CLIENT_TIMEOUT_MS = 2 ** 31 - 1

/**
 * Settings of every query, for users whose profile lets a query choose them: it can only read (2: and choose settings for
 * itself), the server ends it when the connection is closed, also before the first row, and integers are numbers. It applies the
 * skip indexes before it reads, one after the other: while it reads, it would load the whole bloom filter of the event ids for
 * one event (45 ms of CPU at 100 million events, not 5). A read-only profile (1) takes no settings.
 */
const SETTINGS = {
  readonly: '2',
  cancel_http_readonly_queries_on_client_close: 1,
  output_format_json_quote_64bit_integers: 0,
  use_skip_indexes_on_data_read: 0,
} as const
/** This profile reads, and lets a query choose all but `readonly`. */
const { readonly: _, ...OF_READONLY_2 } = SETTINGS
type Settings = Partial<typeof SETTINGS> & { readonly output_format_avro_codec?: 'null' }

/**
 * Connects to the ClickHouse that holds the trail.
 * @throws InvalidInputError `OPTIONS_INVALID` if the URL is not an http or https URL, has a user or parameters, or is http beside certificates.
 */
export function connectAnalytics(options: AnalyticsOptions): Analytics {
  const connection = new Connection(options)
  return {
    address: connection.address,
    database: connection.database,
    fields: new FieldReader(options.keys),
    query: (sql, queryOptions) => connection.query(sql, queryOptions),
    bytes: (sql, bytesOptions) => connection.bytes(sql, bytesOptions),
    rows: async (sql, params) => collect(connection.query(sql, { schema: UNCHECKED, params })),
    command: (statement, parameters) => connection.command(statement, parameters),
    close: () => connection.close(),
    [Symbol.asyncDispose]: () => connection.close(),
  }
}

class Connection {
  readonly address: string
  readonly database: string
  readonly #client: ClickHouseClient
  readonly #options: AnalyticsOptions
  readonly #timeoutMs: number
  #settings: Settings | undefined

  constructor(options: AnalyticsOptions) {
    this.address = addressOf(options)
    this.database = options.database ?? DEFAULT_DATABASE
    this.#options = options
    this.#timeoutMs = options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS
    this.#client = createClient({
      ...endpointOf(options.url),
      username: options.username,
      password: options.password,
      ...(options.ssl === undefined ? {} : { http_agent: httpsAgent(options.ssl, 'CLICKHOUSE', { keepAlive: true }) }),
      application: 'agent-audit',
      request_timeout: NO_CLIENT_TIMEOUT_MS,
      log: { level: ClickHouseLogLevel.OFF },
    })
  }

  async *query<Row>(sql: string, options: QueryOptions<Row>): AsyncGenerator<Row, void, undefined> {
    const watch = new Watch(options.timeoutMs ?? this.#timeoutMs, options.signal)
    try {
      const body = await this.#ask(sql, { format: 'JSONEachRow', params: options.params, watch })
      for await (const row of readAnswer(watch.chunks(body))) {
        watch.throwIfAborted()
        yield fit(row, options.schema)
      }
    } catch (error) {
      throw this.#explain(error, sql, watch)
    }
  }

  async *bytes(sql: string, options: BytesOptions): AsyncGenerator<Buffer, void, undefined> {
    const watch = new Watch(options.timeoutMs ?? this.#timeoutMs, options.signal)
    try {
      yield* watch.chunks(await this.#ask(sql, { format: options.format, params: options.params, watch }))
    } catch (error) {
      throw this.#explain(error, sql, watch)
    }
  }

  async command(statement: string, parameters?: Record<string, unknown>): Promise<void> {
    const watch = new Watch(this.#timeoutMs)
    try {
      const body = await this.#send(statement, { params: parameters, settings: {}, watch })
      for await (const chunk of watch.chunks(body)) void chunk
    } catch (error) {
      throw this.#explain(error, statement, watch)
    }
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  async #ask(sql: string, { format, ...request }: Omit<Request, 'settings'> & { format: string }): Promise<Readable> {
    const chosen = (this.#settings ??= await this.#readSettings(request.watch))
    const plain = format === 'Avro' && Object.keys(chosen).length > 0
    const settings = plain ? { ...chosen, output_format_avro_codec: 'null' as const } : chosen
    return this.#send(`${sql.replace(/[;\s]+$/, '')}\nFORMAT ${format}`, { ...request, settings })
  }

  async #send(query: string, { params, settings, watch }: Request): Promise<Readable> {
    watch.signal.throwIfAborted()
    const sent = this.#client.exec({
      query,
      query_params: { database: this.database, ...params },
      clickhouse_settings: settings,
      abort_signal: watch.signal,
    })
    return (await watch.wait(sent)).stream
  }

  /** Those of {@link SETTINGS} that this user's profile lets a query send. */
  async #readSettings(watch: Watch): Promise<Settings> {
    const query = `SELECT getSetting('readonly') AS readonly FORMAT JSONEachRow`
    const body = await this.#send(query, { settings: {}, watch })
    const [row] = await collect<{ readonly: unknown }>(readAnswer(watch.chunks(body)))
    const level = Number(row?.readonly)
    if (level === 0) return SETTINGS
    return level === 1 ? {} : OF_READONLY_2
  }

  /** @throws the reason of the caller's signal, if that ended the request. */
  #explain(error: unknown, statement: string, watch: Watch): TrailError {
    watch.throwIfAborted()
    if (error instanceof TrailError) return error
    const { address: server, database } = this
    const { username } = this.#options
    return storeError(error, { server, username, database, asked: statement, timedOut: watch.timedOut })
  }
}

interface Request {
  readonly params?: Readonly<Record<string, unknown>> | undefined
  readonly settings: Settings
  readonly watch: Watch
}

const UNCHECKED: RowSchema<unknown> = { parse: (row) => row }

async function collect<Row>(rows: AsyncIterable<unknown>): Promise<Row[]> {
  const collected: Row[] = []
  for await (const row of rows) collected.push(row as Row)
  return collected
}

function fit<Row>(row: unknown, schema: RowSchema<Row>): Row {
  try {
    return schema.parse(row)
  } catch (cause) {
    // Paths and expected types, as zod has them; any other message may quote content.
    const { issues = [] } = cause as { issues?: { path?: readonly unknown[]; message?: string }[] }
    const wrong = issues.map(({ path, message }) => `${path?.join('.') ?? ''}: ${message ?? ''}`).join('; ')
    const message = `a row of the answer does not fit the schema of the query${wrong === '' ? '' : `: ${wrong}`}`
    throw new IntegrityError('STORE_REFUSED', message, { cause })
  }
}

function addressOf({ url, ssl }: AnalyticsOptions): string {
  const fault = urlFault(url, ssl)
  if (fault !== undefined) throw new InvalidInputError('OPTIONS_INVALID', `ClickHouse URL: ${fault}`)
  return new URL(url).host
}
