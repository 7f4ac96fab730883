/** The sink on a real ClickHouse. The one file of the consumer that knows @clickhouse/client. */
import { Readable } from 'node:stream'
import type { LogPartition } from '@agent-audit/kafka'
import {
  askInChunks,
  AuditUnavailableError,
  EVENTS_TABLE,
  IntegrityError,
  LOGS_TABLE,
  SKIPPED_TABLE,
} from '@agent-audit/schemas'
import { ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { BLOCK_COLUMNS } from '../pipeline/block.ts'
import { judgeAnswer } from './insert-answer.ts'
import {
  insertPrefix,
  type Insert,
  type InsertAnswer,
  type OffsetRange,
  type RecordIdentity,
  type Sink,
} from '../pipeline/sink.ts'
import { checkStore, type Settings } from './store-check.ts'

export interface ClickHouseOptions {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly database: string
  readonly insertTimeoutMs: number
}

/** A sink, with the checks at start and the poll of parts. */
export interface ClickHouseSink extends Sink {
  /**
   * Checks that the server answers and has all that the protocol rests on: tables with their constraints, settings that an
   * insert may choose, a user that may insert and nothing more.
   * @throws AuditUnavailableError `STORE_UNAVAILABLE`; IntegrityError `ACCESS_DENIED`, `STORE_REFUSED`, `GRANTS_TOO_WIDE` or
   * `STORE_UNFIT`, the last two naming all that is wrong.
   */
  checkAccess(): Promise<void>
  /** The highest number of active parts in any partition of the two tables. @throws as the other queries do */
  mostParts(): Promise<number>
  /** Consumer group that a log is registered under; undefined if it is not registered. */
  registeredGroup(logId: Buffer): Promise<string | undefined>
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

function insertSettings({ token, fencedAt, deadline }: InsertKey, { insertTimeoutMs }: ClickHouseOptions): Settings {
  return {
    ...ALL_OR_NOTHING,
    insert_deduplication_token: token,
    log_comment: `${fencedAt} ${deadline}`,
    max_execution_time: Math.max(1, Math.floor(insertTimeoutMs / 1000)),
  }
}

const ACCESS_CODES = new Set(['192', '193', '194', '497', '516'])
const QUERY_TIMEOUT_MS = 30_000
const RANGES = `
  SELECT toFloat64(min(o)) AS first, toFloat64(max(o)) AS last FROM (
    SELECT o, o - row_number() OVER (ORDER BY o) AS island FROM (
      SELECT log_offset AS o FROM ${EVENTS_TABLE}
      WHERE log_id = unhex({log:String}) AND log_partition = {partition:Int32} AND log_offset >= {from:Int64}
      UNION ALL SELECT log_offset AS o FROM ${SKIPPED_TABLE}
      WHERE log_id = unhex({log:String}) AND log_partition = {partition:Int32} AND log_offset >= {from:Int64}
    )
  ) GROUP BY island ORDER BY first`
const IDENTITY = ['events', 'skipped'].map(
  (table) => `
  SELECT lower(hex(run_id)) AS runId, toFloat64(run_seq) AS runSeq FROM audit_${table}
  WHERE log_id = unhex({log:String}) AND log_partition = {partition:Int32} AND log_offset = {offset:Int64}
    AND isNotNull(run_id) AND isNotNull(run_seq)`,
)
const MOST_PARTS = `
  SELECT toFloat64(max(parts)) AS parts FROM (
    SELECT count() AS parts FROM system.parts
    WHERE database = {database:String} AND table IN ('${EVENTS_TABLE}', '${SKIPPED_TABLE}') AND active
    GROUP BY table, partition_id
  )`
const IN_PARTITION = 'log_id = unhex({log:String}) AND log_partition = {partition:Int32}'
/** Offset of the last row of a table below another offset, or -1: read from the end of the primary key. */
const lastBelow = (table: string, condition: string): string => `ifNull((
    SELECT log_offset FROM ${table} WHERE ${IN_PARTITION} AND log_offset < {below:Int64} AND ${condition}
    ORDER BY log_id DESC, log_partition DESC, log_offset DESC LIMIT 1), -1)`
const DEAD_IN_A_ROW = `
  SELECT toFloat64(count()) AS dead FROM (
    SELECT log_offset FROM ${SKIPPED_TABLE} WHERE ${IN_PARTITION} AND kind = 'dead' AND log_offset < {below:Int64}
      AND log_offset > ${lastBelow(EVENTS_TABLE, '1')} AND log_offset > ${lastBelow(SKIPPED_TABLE, `kind = 'duplicate'`)}
    LIMIT {limit:UInt32})`

/** Connects lazily: sends nothing before the first call. */
export function createClickHouseSink(options: ClickHouseOptions): ClickHouseSink {
  // No retries: no layer between the pipeline and the server may repeat a POST by itself.
  const client = createClient({
    url: options.url,
    username: options.username,
    password: options.password,
    database: options.database,
    application: 'agent-audit-consumer',
    max_open_connections: 64,
    request_timeout: Math.max(QUERY_TIMEOUT_MS, options.insertTimeoutMs),
    keep_alive: { enabled: true },
    log: { level: ClickHouseLogLevel.OFF },
  })
  const where = `ClickHouse at ${options.url} as ${options.username}`

  async function ask<Row>(
    query: string,
    parameters: Record<string, unknown> = {},
    clickhouse_settings: Settings = {},
  ): Promise<Row[]> {
    // The client's own time-out ends with the response's head: the body may still never come.
    const abort_signal = AbortSignal.timeout(QUERY_TIMEOUT_MS)
    try {
      const result = await client.query({
        query,
        query_params: parameters,
        format: 'JSONEachRow',
        clickhouse_settings,
        abort_signal,
      })
      return await result.json<Row>()
    } catch (error) {
      throw describe(error, where)
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
      const { code } = error instanceof ClickHouseError ? error : { code: undefined }
      const message = abort.aborted && code === undefined ? 'no answer in time' : messageOf(error)
      return judgeAnswer(code === undefined ? { message } : { code, message })
    }
  }

  return {
    insert,
    async now() {
      const [row] = await ask<{ now: number }>('SELECT toFloat64(toUnixTimestamp64Milli(now64(3))) AS now')
      return row?.now ?? 0
    },
    async runningInserts(logPartition) {
      const query =
        'SELECT toFloat64(count()) AS running FROM system.processes WHERE startsWith(query_id, {prefix:String})'
      const [row] = await ask<{ running: number }>(query, { prefix: insertPrefix(logPartition) })
      return row?.running ?? 0
    },
    accounted: (logPartition, from) => ask<OffsetRange>(RANGES, { ...parametersOf(logPartition), from }),
    async deadInARow(logPartition, below, limit) {
      const [row] = await ask<{ dead: number }>(DEAD_IN_A_ROW, { ...parametersOf(logPartition), below, limit })
      return row?.dead ?? 0
    },
    async identityAt(logPartition, offset) {
      for (const query of IDENTITY) {
        const [row] = await ask<RecordIdentity>(query, { ...parametersOf(logPartition), offset })
        if (row !== undefined) return row
      }
      return undefined
    },
    async highestSeqs(logPartition, runIds) {
      // Without FixedString an id that ends in a zero byte, one in 256, would match no set: its repeats would pass.
      const query = `
        SELECT lower(hex(run_id)) AS runId, toFloat64(max(run_seq)) AS runSeq FROM ${EVENTS_TABLE}
        WHERE ${IN_PARTITION} AND run_id IN (SELECT toFixedString(unhex(arrayJoin({runs:Array(String)})), 16)) GROUP BY run_id`
      const rows = await askInChunks(runIds, (runs) =>
        ask<RecordIdentity>(query, { ...parametersOf(logPartition), runs }),
      )
      return new Map(rows.map((row) => [row.runId, row.runSeq]))
    },
    stored: (logPartition, records) => askStored(ask, parametersOf(logPartition), records),
    checkAccess: () =>
      checkStore(ask, { where, database: options.database, insertSettings: insertSettings(EXAMPLE, options) }),
    async mostParts() {
      const [row] = await ask<{ parts: number }>(MOST_PARTS, { database: options.database })
      return row?.parts ?? 0
    },
    async registeredGroup(logId) {
      const query = `SELECT consumer_group FROM ${LOGS_TABLE} WHERE log_id = unhex({log:String}) ORDER BY registered_at LIMIT 1`
      const [row] = await ask<{ consumer_group: string }>(query, { log: logId.toString('hex') })
      return row?.consumer_group
    },
    close: () => client.close(),
  }
}

function parametersOf({ logId, partition }: LogPartition): Record<string, unknown> {
  return { log: logId.toString('hex'), partition }
}

type Ask = <Row>(query: string, parameters?: Record<string, unknown>) => Promise<Row[]>

/** Queries run by run: a batch with suspects has records of one or few runs. */
async function askStored(
  ask: Ask,
  parameters: Record<string, unknown>,
  records: readonly RecordIdentity[],
): Promise<RecordIdentity[]> {
  const query = `
    SELECT toFloat64(run_seq) AS runSeq FROM ${EVENTS_TABLE}
    WHERE ${IN_PARTITION} AND run_id = unhex({run:String}) AND run_seq IN (SELECT arrayJoin({seqs:Array(Int64)}))`
  const found: RecordIdentity[] = []
  for (const [run, wanted] of Map.groupBy(records, (record) => record.runId)) {
    const numbers = wanted.map((record) => record.runSeq)
    const rows = await askInChunks(numbers, (seqs) => ask<{ runSeq: number }>(query, { ...parameters, run, seqs }))
    for (const { runSeq } of rows) found.push({ runId: run, runSeq })
  }
  return found
}

function describe(error: unknown, where: string): Error {
  if (error instanceof ClickHouseError) {
    const message = `${where}: ${error.message}`
    if (ACCESS_CODES.has(error.code)) return new IntegrityError('ACCESS_DENIED', message, { cause: error })
    if (error.code === '60' || error.code === '81') {
      return new IntegrityError('STORE_REFUSED', `${message} Run 'agent-audit setup' first.`, { cause: error })
    }
    return new AuditUnavailableError('STORE_UNAVAILABLE', message, { cause: error })
  }
  return new AuditUnavailableError('STORE_UNAVAILABLE', `${where}: ${messageOf(error)}`, { cause: error })
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(', ')
  return error instanceof Error ? error.message : String(error)
}
