/**
 * Rows for the benchmark of the consumer's queries. ClickHouse itself makes them, which is the quickest way, into the real
 * tables under their constraints. Each size is a log of its own, so that all sizes can be measured at any time.
 */
import { EVENTS_TABLE, NEWEST_SCHEMA, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '@agent-audit/analytics'

export const PARTITIONS = 4
/** Every so many offsets one is a skipped row. */
const SKIPPED_EVERY = 1000
/** Runs that write at the same time. The first of them never ends; the others end with each insert. */
const RUNS = 10
/** Offsets of an insert: one block, one part, one day of one partition. */
const OFFSETS_AN_INSERT = 250_000

export interface ScaleLog {
  readonly logId: Buffer
  /** Offsets of each partition, which begin at 0. */
  readonly offsets: number
}

export function scaleLog(rows: number): ScaleLog {
  return { logId: Buffer.from(rows.toString(36).padStart(8, '0')), offsets: rows / PARTITIONS }
}

/** Id of the run that writes in this slot at an offset, 32 hex digits. */
export function runAt(offset: number, slot: number): string {
  const generation = slot === 0 ? 0 : Math.floor(offset / OFFSETS_AN_INSERT) + 1
  return `5ca1e${generation.toString(16).padStart(24, '0')}${slot.toString(16).padStart(3, '0')}`
}

/** run_seq of the record at an offset: a run's records are spread over the partitions in turn. */
export function seqAt(offset: number, partition: number): number {
  const begun = offset % RUNS === 0 ? 0 : Math.floor(offset / OFFSETS_AN_INSERT) * OFFSETS_AN_INSERT
  return Math.floor((offset - begun) / RUNS) * PARTITIONS + partition
}

/** Makes the rows that are not there yet: an insert is all or nothing, so the first missing one is the next. */
export async function makeRows(admin: Analytics, log: ScaleLog, say: (line: string) => void): Promise<void> {
  for (let from = 0; from < log.offsets; from += OFFSETS_AN_INSERT) {
    const count = Math.min(OFFSETS_AN_INSERT, log.offsets - from)
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const at = { log: log.logId.toString(), partition, from, count }
      for (const [table, insert] of Object.entries(INSERTS)) {
        if ((await rowsAt(admin, table, at)) === 0) await admin.command(insert, at)
      }
    }
    if (from % (4 * OFFSETS_AN_INSERT) === 0)
      say(`${(from + count) * PARTITIONS} of ${log.offsets * PARTITIONS} rows made`)
  }
}

async function rowsAt(admin: Analytics, table: string, at: Record<string, unknown>): Promise<number> {
  const query = `SELECT toFloat64(count()) AS rows FROM {database:Identifier}.${table}
    WHERE log_id = {log:String} AND log_partition = {partition:Int32}
      AND log_offset >= {from:Int64} AND log_offset < {from:Int64} + {count:Int64}`
  const [row] = await admin.rows<{ rows: number }>(query, at)
  return row?.rows ?? 0
}

/** A lease that never ends: no consumer makes these inserts. */
const SETTINGS = `SETTINGS log_comment = '9000000000000 9000000000000', max_insert_threads = 1, max_threads = 1,
  max_block_size = ${OFFSETS_AN_INSERT}, min_insert_block_size_rows = ${OFFSETS_AN_INSERT}`
const SLOT = `number % ${RUNS}`
const GENERATION = `if(${SLOT} = 0, 0, intDiv(number, ${OFFSETS_AN_INSERT}) + 1)`
const RUN_ID = `unhex(concat('5ca1e', leftPad(lower(hex(${GENERATION})), 24, '0'), leftPad(lower(hex(${SLOT})), 3, '0')))`
const BEGUN = `if(${SLOT} = 0, 0, intDiv(number, ${OFFSETS_AN_INSERT}) * ${OFFSETS_AN_INSERT})`
const RUN_SEQ = `intDiv(number - ${BEGUN}, ${RUNS}) * ${PARTITIONS} + {partition:Int32}`
const LOG_TIME = `toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + toIntervalDay(intDiv(number, ${OFFSETS_AN_INSERT}))
  + toIntervalMillisecond(number % ${OFFSETS_AN_INSERT} * 300)`
const FROM = 'FROM numbers({from:UInt64}, {count:UInt64})'

const FIELDS: Readonly<Record<string, string>> = {
  run_id: RUN_ID,
  run_seq: RUN_SEQ,
  producer_id: `concat('producer-', toString(${SLOT}))`,
  session_seq: `intDiv(number, ${RUNS}) % 50`,
  retention_class: `'default'`,
  event_id: 'generateUUIDv7(number)',
  timestamp: `toDateTime64(${LOG_TIME}, 6, 'UTC')`,
  event_type: `['llm_call', 'tool_call', 'tool_result'][1 + number % 3]`,
  session_id: `concat('session ', toString(${SLOT}), ' ', toString(intDiv(number, ${RUNS} * 50)))`,
  agent_id: `concat('agent ', toString(${SLOT}))`,
  step_number: `intDiv(number, ${RUNS}) % 50`,
  requires_approval: 'false',
  output_text: `concat('answer ', toString(number))`,
}
const FIELD_NAMES = NEWEST_SCHEMA.fields.map(({ name }) => name).filter((name) => name in FIELDS)
const POSITION = 'log_id, log_partition, log_offset, log_time'
const POSITION_VALUES = `{log:String}, {partition:Int32}, number, ${LOG_TIME}`

const INSERTS: Readonly<Record<string, string>> = {
  [EVENTS_TABLE]: `INSERT INTO {database:Identifier}.${EVENTS_TABLE} (${FIELD_NAMES.join(', ')}, ${POSITION}, writer_schema)
    SELECT ${FIELD_NAMES.map((name) => FIELDS[name]).join(', ')}, ${POSITION_VALUES}, 1 ${FROM}
    WHERE number % ${SKIPPED_EVERY} != ${SKIPPED_EVERY - 1} ${SETTINGS}`,
  [SKIPPED_TABLE]: `INSERT INTO {database:Identifier}.${SKIPPED_TABLE} (kind, reason, run_id, run_seq, ${POSITION})
    SELECT 'duplicate', 'sent again', ${RUN_ID}, ${RUN_SEQ}, ${POSITION_VALUES} ${FROM}
    WHERE number % ${SKIPPED_EVERY} = ${SKIPPED_EVERY - 1} ${SETTINGS}`,
}
