/** The sink on a real ClickHouse. The one file of the consumer that knows @clickhouse/client. */
import type { Agent } from 'node:https'
import { Readable } from 'node:stream'
import type { LogPartition } from '@agent-audit/kafka'
import {
  type ClientTls,
  endpointOf,
  EVENTS_TABLE,
  httpsAgent,
  IntegrityError,
  LOGS_TABLE,
  readContainer,
  SKIPPED_TABLE,
  storeError,
} from '@agent-audit/schemas'
import { ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { BLOCK_COLUMNS, type EncodedRows } from '../pipeline/block.ts'
import { checkCanary } from './canary.ts'
import { judgeAnswer } from './insert-answer.ts'
import { insertMark, type Insert, type InsertAnswer, type Sink, type Table } from '../pipeline/sink.ts'
import { accounted, deadInARow, expired } from './offsets.ts'
import type { PartitionStore, Question } from './question.ts'
import { quarantined, rowsBetween } from './rows.ts'
import { type DescribedColumn, roundTripRequest } from './round-trip.ts'
import { highestSeqs, stored } from './runs.ts'
import { sharedAnswer, sharedCounts } from './shared-questions.ts'
import { checkStore, type Settings } from './store-check.ts'

export interface ClickHouseOptions {
  readonly url: string
  readonly username: string
  readonly password: string
  /** TLS of an https URL. */
  readonly ssl: ClientTls | undefined
  readonly database: string
  /** How long the answer to an insert, and to a query, may take; milliseconds. */
  readonly insertTimeoutMs: number
  readonly queryTimeoutMs: number
}

/** A row of audit_logs. */
export interface Registration {
  /** The only consumer group that may write the log's rows. */
  readonly consumerGroup: string
  /** Kafka's id of the topic; empty: not known. */
  readonly topicId: string
}

/** A sink, with the checks at start and the poll of parts. */
export interface ClickHouseSink extends Sink {
  /**
   * Checks that the server answers and has all that the protocol rests on: tables with their constraints, settings that an
   * insert may choose, a user that may insert and nothing more, columns that give back what they are given (once).
   * @throws AuditUnavailableError `STORE_UNAVAILABLE`, `STORE_LIMIT`; IntegrityError `ACCESS_DENIED`, `STORE_REFUSED`, `GRANTS_TOO_WIDE` or
   * `STORE_UNFIT`, the last two naming all that is wrong.
   */
  checkAccess(): Promise<void>
  /** The highest number of active parts in any partition of the two tables. @throws as the other queries do */
  mostParts(): Promise<number>
  /** What a log is registered as; undefined if it is not. */
  registration(logId: Buffer): Promise<Registration | undefined>
  close(): Promise<void>
}

/**
 * One block, one part, all or nothing: no squashing into several blocks, no splitting by size, no parallel parsing, no
 * second partition, no rows left behind on an error, an answer only once the part exists.
 */
const ALL_OR_NOTHING: Settings = {
  async_insert: 0,
  wait_end_of_query: 1,
  insert_deduplicate: 1,
  min_insert_block_size_rows: '1000000000',
  min_insert_block_size_bytes: '0',
  max_insert_block_size: '1000000000',
  input_format_parallel_parsing: 0,
  input_format_connection_handling: 0,
  input_format_allow_errors_num: '0',
  input_format_allow_errors_ratio: 0,
  max_insert_threads: '1',
  max_partitions_per_insert_block: '1',
  throw_on_max_partitions_per_insert_block: 1,
}

type InsertKey = Pick<Insert, 'token' | 'fencedAt' | 'deadline'>
/** An example insert, for the check that its settings may be sent at all. */
const EXAMPLE: InsertKey = { token: 'start', fencedAt: 0, deadline: 0 }

/** ClickHouse ends a query too, and does not go on with one that the consumer has given up and will ask again. */
function querySettings({ queryTimeoutMs }: ClickHouseOptions): Settings {
  return { max_execution_time: Math.ceil(queryTimeoutMs / 1000), timeout_overflow_mode: 'throw' }
}

function insertSettings({ token, fencedAt, deadline }: InsertKey, { insertTimeoutMs }: ClickHouseOptions): Settings {
  return {
    ...ALL_OR_NOTHING,
    insert_deduplication_token: token,
    log_comment: `${fencedAt} ${deadline}`,
    max_execution_time: Math.max(1, Math.floor(insertTimeoutMs / 1000)),
  }
}

interface StoreQuestion extends Question {
  readonly settings?: Settings
}

const MAX_CONNECTIONS = 64

/** With certificates of our own an agent opens them: it replaces the client's. */
function connections({ ssl }: ClickHouseOptions): { max_open_connections: number; http_agent?: Agent } {
  const limit = { max_open_connections: MAX_CONNECTIONS }
  if (ssl === undefined) return limit
  return { ...limit, http_agent: httpsAgent(ssl, 'CLICKHOUSE', { keepAlive: true, maxSockets: MAX_CONNECTIONS }) }
}

const TIMEOUT_EXCEEDED = '159'
const MOST_PARTS = `
  SELECT toFloat64(max(parts)) AS parts FROM (
    SELECT count() AS parts FROM system.parts
    WHERE database = {database:String} AND table IN ('${EVENTS_TABLE}', '${SKIPPED_TABLE}') AND active
    GROUP BY table, partition_id
  )`
/** Connects lazily: sends nothing before the first call. */
export function createClickHouseSink(options: ClickHouseOptions): ClickHouseSink {
  // No retries: no layer between the pipeline and the server may repeat a POST by itself.
  const client = createClient({
    ...endpointOf(options.url),
    username: options.username,
    password: options.password,
    database: options.database,
    application: 'agent-audit-consumer',
    ...connections(options),
    // Later than both, so that an answer that is late is known as such.
    request_timeout: Math.max(options.queryTimeoutMs, options.insertTimeoutMs) + 1000,
    keep_alive: { enabled: true },
    log: { level: ClickHouseLogLevel.OFF },
  })
  // Never the path, which may be a secret as well.
  const { host } = new URL(options.url)
  const where = `ClickHouse at ${host} as ${options.username}`

  let canaryCameBack = false

  async function ask<Row>({
    what,
    query,
    parameters,
    settings = querySettings(options),
  }: StoreQuestion): Promise<Row[]> {
    // The client's own time-out ends with the response's head: the body may still never come.
    const abort_signal = AbortSignal.timeout(options.queryTimeoutMs)
    try {
      const result = await client.query({
        query,
        query_params: { ...parameters },
        format: 'JSONEachRow',
        clickhouse_settings: settings,
        abort_signal,
      })
      return await result.json<Row>()
    } catch (error) {
      const late = abort_signal.aborted || (error instanceof ClickHouseError && error.code === TIMEOUT_EXCEEDED)
      throw storeError(error, {
        server: host,
        username: options.username,
        database: options.database,
        asked: what,
        timedOut: late ? { ms: options.queryTimeoutMs, setting: 'QUERY_TIMEOUT_MS' } : undefined,
      })
    }
  }

  function about({ logId, topic, partition }: LogPartition): PartitionStore {
    const [name, position] = [`${topic}/${partition}`, { log: logId.toString('hex'), partition }]
    return {
      name,
      ask: ({ what, query, parameters }) =>
        ask({ what: `${what} of ${name}`, query, parameters: { ...position, ...parameters } }),
    }
  }

  async function roundTrip(table: Table, rows: EncodedRows): Promise<Buffer> {
    const what = `the columns of ${table}`
    const columns = await ask<DescribedColumn>({ what, query: `DESCRIBE TABLE ${table}` })
    const { query, contentType, body, settings } = roundTripRequest(table, columns, rows)
    try {
      const { stream } = await client.exec({
        query,
        values: Readable.from(body, { objectMode: false }),
        http_headers: { 'Content-Type': contentType },
        abort_signal: AbortSignal.timeout(options.queryTimeoutMs),
        clickhouse_settings: { ...querySettings(options), ...settings },
      })
      const answer: Buffer[] = []
      for await (const chunk of stream) answer.push(Buffer.from(chunk as Uint8Array))
      return readContainer(Buffer.concat(answer)).data
    } catch (error) {
      const refused = judgeError(error)
      if (refused.kind === 'bad-data') {
        throw new IntegrityError('STORE_UNFIT', `${table} does not take what a record may hold: ${refused.reason}`)
      }
      throw storeError(error, { server: host, username: options.username, database: options.database, asked: what })
    }
  }

  async function insert(request: Insert): Promise<InsertAnswer> {
    const abort = AbortSignal.timeout(options.insertTimeoutMs)
    try {
      const { stream } = await client.exec({
        query: `INSERT INTO ${request.table} (${BLOCK_COLUMNS[request.table].join(', ')}) FORMAT Avro`,
        values: Readable.from(request.body, { objectMode: false }),
        query_id: request.queryId,
        abort_signal: abort,
        clickhouse_settings: insertSettings(request, options),
      })
      for await (const chunk of stream) void chunk
      return { kind: 'stored' }
    } catch (error) {
      return judgeError(error, abort.aborted ? 'no answer in time' : undefined)
    }
  }

  return {
    insert,
    now: sharedAnswer(async () => {
      const query = 'SELECT toFloat64(toUnixTimestamp64Milli(now64(3))) AS now'
      const [row] = await ask<{ now: number }>({ what: 'its clock', query })
      return row?.now ?? 0
    }),
    async runningInserts(logPartition) {
      const query =
        'SELECT toFloat64(count()) AS running FROM system.processes WHERE position(query_id, {mark:String}) > 0'
      const parameters = { mark: insertMark(logPartition) }
      const [row] = await about(logPartition).ask<{ running: number }>({
        what: 'the running inserts',
        query,
        parameters,
      })
      return row?.running ?? 0
    },
    accounted: (logPartition, from) => accounted(about(logPartition), from),
    countOffsets: sharedCounts(about),
    expired: (logPartition, from) => expired(about(logPartition), from),
    deadInARow: (logPartition, below, limit) => deadInARow(about(logPartition), below, limit),
    rowsBetween: (logPartition, range, which) => rowsBetween(about(logPartition), range, which),
    quarantined: (logPartition) => quarantined(about(logPartition)),
    highestSeqs: (logPartition, runIds) => highestSeqs(about(logPartition), runIds),
    stored: (logPartition, records) => stored(about(logPartition), records),
    async checkAccess() {
      await checkStore(
        (query, parameters = {}, settings = {}) => ask({ what: 'the check at start', query, parameters, settings }),
        {
          where,
          database: options.database,
          insertSettings: { ...querySettings(options), ...insertSettings(EXAMPLE, options) },
        },
      )
      if (!canaryCameBack) await checkCanary(roundTrip)
      canaryCameBack = true
    },
    async mostParts() {
      const [row] = await ask<{ parts: number }>({
        what: 'the number of parts',
        query: MOST_PARTS,
        parameters: { database: options.database },
      })
      return row?.parts ?? 0
    },
    async registration(logId) {
      const query = `SELECT argMin(consumer_group, registered_at) AS consumerGroup, argMinIf(topic_id, registered_at, topic_id != '') AS topicId
        FROM ${LOGS_TABLE} WHERE log_id = unhex({log:String}) HAVING count() > 0`
      const parameters = { log: logId.toString('hex') }
      const [row] = await ask<Registration>({ what: "the log's registration", query, parameters })
      return row
    },
    close: () => client.close(),
  }
}

/** @param why - What happened where the server gave no answer; undefined: what the error says. */
function judgeError(error: unknown, why?: string): InsertAnswer {
  const { code } = error instanceof ClickHouseError ? error : { code: undefined }
  if (code === undefined) return judgeAnswer({ message: why ?? messageOf(error) })
  return judgeAnswer({ code, message: messageOf(error) })
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(', ')
  return error instanceof Error ? error.message : String(error)
}
