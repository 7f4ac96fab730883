/**
 * Rows of a fleet, for the benchmark of queries. ClickHouse itself makes them, into the real tables under their constraints.
 * Each size is a trail of its own, in a database of its own. All values follow from the position in the log and a seed, so
 * the benchmark knows what to ask for without a look into the table.
 *
 * A day has a million events in 4 partitions of the log. A partition has 64 sessions open at a time, of 6 to 96 events (28 in
 * the mean), some 22 s apart; 300 agents, a few of which do most of the work; ten runs of producers. In every 61st stretch of
 * 4096 offsets the events are three hours older than their place in the log: the spool of a killed run. A record has about
 * 0.3 KB, as in the consumer's benchmark.
 */
import { EVENTS_TABLE, NEWEST_SCHEMA } from '@agent-audit/schemas'
import type { Analytics } from '@agent-audit/analytics'

export const PARTITIONS = 4
export const AGENTS = 300
export const DAY_ROWS = 1_000_000
export const FIRST_DAY: Date = new Date('2026-01-01T00:00:00Z')
const LOG_ID = 'fleetlog'
const OFFSETS_A_DAY = DAY_ROWS / PARTITIONS
const MICROSECONDS_AN_OFFSET = 86_400_000_000 / OFFSETS_A_DAY
/** Offsets of an insert: one block of one partition. */
const OFFSETS_AN_INSERT = 1_000_000
const RUNS = 10
const LANES = 64
/** Lengths of the sessions that follow each other in a lane. */
const LENGTHS = [8, 17, 6, 38, 24, 11, 96]
const CYCLE = LENGTHS.reduce((sum, length) => sum + length, 0)
const STARTS = LENGTHS.map((_, index) => LENGTHS.slice(0, index).reduce((sum, length) => sum + length, 0))
const SEED = 16
const WORDS =
  `order refund customer flight booking cancel payment account email address confirm status update the a of to for in
  with please your has been found no not is are was will can policy allows within hours days after before agent checked tool
  returned result price total amount item number date name search list send file report error retry limit access user request`
    .split(/\s+/)
    .map((word) => `'${word}'`)

/** Makes the rows that are not there yet: an insert is all or nothing, so the first missing one is the next. */
export async function makeFleet(admin: Analytics, rows: number, say: (line: string) => void): Promise<void> {
  const offsets = rows / PARTITIONS
  for (let from = 0; from < offsets; from += OFFSETS_AN_INSERT) {
    const count = Math.min(OFFSETS_AN_INSERT, offsets - from)
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const at = { partition, from, count }
      if ((await storedAt(admin, at)) === 0) await admin.command(INSERT, at)
    }
    say(`${(from + count) * PARTITIONS} of ${rows} rows of a fleet made`)
  }
}

async function storedAt(admin: Analytics, at: Record<string, unknown>): Promise<number> {
  const [row] = await admin.rows<{ rows: number }>(
    `SELECT toFloat64(count()) AS rows FROM {database:Identifier}.${EVENTS_TABLE}
     WHERE log_id = '${LOG_ID}' AND log_partition = {partition:Int32}
       AND log_offset >= {from:Int64} AND log_offset < {from:Int64} + {count:Int64}`,
    at,
  )
  return row?.rows ?? 0
}

/** A number below 2^32 that belongs to a row, or to its session, and to a purpose. */
const hash = (of: string, purpose: number): string => `bitAnd(sipHash64(${of}, ${SEED}, ${purpose}), 4294967295)`
const ofRow = (purpose: number): string => hash('{partition:Int32}, number', purpose)
const ofSession = (purpose: number): string => hash('session', purpose)
/** Small numbers more often. */
const skewed = (random: string, count: number): string => `toUInt32(floor(pow(${random} / 4294967296, 2) * ${count}))`
const text = (words: number, purpose: number): string =>
  `arrayStringConcat(arrayMap(place -> [${WORDS.join(', ')}][1 + ${skewed(hash('number, place', purpose), WORDS.length)}], range(${words} + ${ofRow(purpose)} % ${words})), ' ')`

/** Microseconds of an offset by the log's clock, and of its event by the producer's. */
const loggedAt = (offset: string): string =>
  `toInt64(${FIRST_DAY.getTime()}000 + ${offset} * ${MICROSECONDS_AN_OFFSET})`
const happenedAt = (offset: string): string =>
  `(${loggedAt(offset)} - 2000 - ${hash(`{partition:Int32}, ${offset}`, 10)} % 300000 - if(intDiv(${offset}, 4096) % 61 = 7, 10800000000, 0))`

/** Lane, place in the lane; session, place in the session; agent; times. */
const PLACES = `
  SELECT number, lane, cycle, turn,
    arrayLastIndex(start -> start <= turn, [${STARTS.join(', ')}]) AS script,
    turn - [${STARTS.join(', ')}][script] AS seq, [${LENGTHS.join(', ')}][script] AS length,
    sipHash64({partition:Int32}, lane, cycle, script, ${SEED}) AS session,
    ${skewed(ofSession(1), AGENTS)} AS agent,
    ${ofRow(2)} AS random,
    multiIf(seq = 0, 'session_start', seq = length - 1, 'session_end', seq = 1, 'user_message', ['llm_call', 'tool_call', 'tool_result'][1 + (seq - 2) % 3]) AS kind,
    ${skewed(hash('session, intDiv(seq - 2, 3)', 3), 40)} AS tool,
    ${loggedAt('number')} AS logged_us, ${happenedAt('number')} AS time_us,
    lane % ${RUNS} AS slot, number * ${PARTITIONS} + {partition:Int32} AS run_number
  FROM (
    SELECT number, number % ${LANES} AS lane, intDiv(number, ${LANES}) + lane * 37 AS place,
      intDiv(place, ${CYCLE}) AS cycle, place % ${CYCLE} AS turn
    FROM numbers({from:UInt64}, {count:UInt64}))`

const RUN_HEX = `lower(hex(sipHash128(slot, ${SEED})))`
const hex = (value: string, digits: number): string => `leftPad(lower(hex(${value})), ${digits}, '0')`
/** An event id as a producer makes it: 48 bits of milliseconds, 42 bits of the run, 32 bits of run_seq. */
const eventId = (ms: string, runSeq: string): string => `toUUID(concat(
  ${hex(`toUInt32(bitShiftRight(${ms}, 16))`, 8)}, '-', ${hex(`toUInt16(bitAnd(${ms}, 65535))`, 4)}, '-7', substring(${RUN_HEX}, 1, 3),
  '-8', substring(${RUN_HEX}, 4, 3), '-', substring(${RUN_HEX}, 7, 4), ${hex(`toUInt32(${runSeq})`, 8)}))`
const CALLS = `kind = 'llm_call'`
const TOOLS = `kind IN ('tool_call', 'tool_result')`
const orNull = (condition: string, value: string): string => `if(${condition}, ${value}, NULL)`
const FAILED = `(kind = 'tool_result' AND random % 40 = 0)`

const FIELDS: Readonly<Record<string, string>> = {
  run_id: `unhex(${RUN_HEX})`,
  run_seq: 'run_number',
  producer_id: `concat('producer-', toString(slot))`,
  session_seq: 'seq',
  retention_class: `'default'`,
  event_id: eventId('intDiv(time_us, 1000)', 'run_number'),
  timestamp: `fromUnixTimestamp64Micro(time_us, 'UTC')`,
  event_type: 'kind',
  session_id: `toString(reinterpretAsUUID(sipHash128(session)))`,
  agent_id: `concat(['support', 'sales', 'claims', 'travel', 'ops', 'coder'][1 + agent % 6], '-', toString(agent))`,
  user_id: `concat('user-', toString(${ofSession(4)} % 50000))`,
  agent_version: `concat('1.', toString(intDiv(number, ${OFFSETS_A_DAY} * 7) + agent % 5), '.0')`,
  model_id: orNull(
    CALLS,
    `['gpt-4o-2024-11-20', 'claude-sonnet-4-5', 'gpt-4o-mini', 'claude-opus-4-5'][1 + agent % 4]`,
  ),
  system_prompt_hash: orNull(
    CALLS,
    `concat(reinterpretAsFixedString(sipHash128(agent)), reinterpretAsFixedString(sipHash128(agent, 1)))`,
  ),
  step_number: 'intDiv(seq, 2)',
  parent_event_id: orNull(
    'seq > 0',
    eventId(`intDiv(${happenedAt(`toInt64(number - ${LANES})`)}, 1000)`, `run_number - ${LANES * PARTITIONS}`),
  ),
  outcome: `multiIf(${FAILED}, 'error', kind = 'tool_call' AND random % 200 = 1, 'denied', kind IN ('tool_call'), 'allowed', kind IN ('tool_result', 'session_end'), 'success', NULL)`,
  provider: orNull(CALLS, `['openai', 'anthropic'][1 + agent % 2]`),
  stop_reason: orNull(CALLS, `'tool_use'`),
  output_text: orNull(CALLS, text(4, 5)),
  input_messages: orNull(CALLS, `concat('[{"role":"user","content":"', ${text(2, 6)}, '"}]')`),
  input_tokens: orNull(CALLS, 'toInt64(800 + seq * 60 + random % 400)'),
  output_tokens: orNull(CALLS, 'toInt64(20 + random % 300)'),
  cache_read_tokens: orNull(CALLS, 'toInt64(seq * 50)'),
  latency_ms: orNull(CALLS, 'toInt64(300 + random % 2000)'),
  tool_call_id: orNull(TOOLS, `concat('call_', lower(hex(toUInt32(${hash('session, intDiv(seq - 2, 3)', 7)}))))`),
  tool_name: orNull(
    TOOLS,
    `concat(['get_', 'list_', 'update_', 'search_'][1 + tool % 4], ['order', 'user', 'flight', 'file', 'ticket'][1 + tool % 5], '_', toString(intDiv(tool, 20)))`,
  ),
  tool_input: orNull(
    `kind = 'tool_call'`,
    `concat('{"id":"ORD-', toString(random % 900000 + 100000), '","limit":', toString(random % 50), '}')`,
  ),
  tool_output: orNull(`kind = 'tool_result'`, text(5, 8)),
  arguments_sha256: orNull(
    `kind = 'tool_call'`,
    `concat(reinterpretAsFixedString(sipHash128(number, 1)), reinterpretAsFixedString(sipHash128(number, 2)))`,
  ),
  error: orNull(FAILED, `concat('timeout after ', toString(random % 30), ' s')`),
  error_type: orNull(FAILED, `'TimeoutError'`),
  execution_time_ms: orNull(`kind = 'tool_result'`, 'toInt64(5 + random % 900)'),
  requires_approval: 'false',
  content: orNull(`kind IN ('session_start', 'user_message')`, `concat('{"message":"', ${text(5, 9)}, '"}')`),
  environment: `'production'`,
}
const NAMES = NEWEST_SCHEMA.fields.map(({ name }) => name).filter((name) => name in FIELDS)
/** A lease that never ends: no consumer makes these inserts. */
const INSERT = `INSERT INTO {database:Identifier}.${EVENTS_TABLE}
  (${NAMES.join(', ')}, log_id, log_partition, log_offset, log_time, writer_schema)
  SELECT ${NAMES.map((name) => FIELDS[name]).join(', ')}, '${LOG_ID}', {partition:Int32}, number, fromUnixTimestamp64Milli(intDiv(logged_us, 1000), 'UTC'), 1
  FROM (${PLACES})
  SETTINGS log_comment = '9000000000000 9000000000000', max_insert_threads = 1, max_threads = 1,
    max_block_size = 65536, min_insert_block_size_rows = ${OFFSETS_AN_INSERT}, min_insert_block_size_bytes = 0`
