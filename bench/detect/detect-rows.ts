/**
 * A made day of agents for the benchmark of the detectors: ClickHouse itself makes the rows, into the real tables under their
 * constraints. Sessions of 25 events, 40 of them at a time in each partition; 200 agents; 1 result of 100 is an error, and 1
 * session of 500 calls the same tool with the same arguments again and again.
 */
import type { Analytics } from '@agent-audit/analytics'
import { EVENTS_TABLE } from '@agent-audit/schemas'

export const PARTITIONS = 4
const SESSION_EVENTS = 25
const AT_ONCE = 40
const AGENTS = 200
/** Offsets of an insert: one block, one part. */
const OFFSETS_AN_INSERT = 250_000
const LOG = 'detectsx'

/** A lease that never ends: no consumer makes these inserts. */
const settings = (rows: number): string =>
  `SETTINGS log_comment = '9000000000000 9000000000000', max_insert_threads = 1, max_threads = 1, max_block_size = ${rows},
    min_insert_block_size_rows = ${rows}`
const SLOT = `number % ${AT_ONCE}`
const STEP = `intDiv(number, ${AT_ONCE}) % ${SESSION_EVENTS}`
const SESSION = `concat('session ', toString({partition:Int32}), ' ', toString(${SLOT}), ' ', toString(intDiv(number, ${AT_ONCE * SESSION_EVENTS})))`
const HASH = `cityHash64(${SESSION})`
const TYPE = `multiIf(${STEP} = 0, 'session_start', ${STEP} = ${SESSION_EVENTS - 1}, 'session_end',
  ['llm_call', 'tool_call', 'tool_result'][1 + (${STEP} - 1) % 3])`
const IS_TOOL = `${TYPE} IN ('tool_call', 'tool_result')`
const IS_LOOP = `${HASH} % 500 = 0`
const IS_ERROR = `${TYPE} = 'tool_result' AND cityHash64(number, {partition:Int32}) % 100 = 0`
const TOOL = `['search', 'read_file', 'send_email', 'refund', 'query'][1 + (${HASH} + if(${IS_LOOP}, 0, intDiv(${STEP}, 3))) % 5]`
const INPUT = `concat('{"order":', toString(if(${IS_LOOP}, 7, number)), ',"note":"of a customer who waits for an answer"}')`

const FIELDS: Readonly<Record<string, string>> = {
  run_id: `toFixedString(concat('detect ', toString({partition:Int32})), 16)`,
  run_seq: 'number',
  producer_id: `'made'`,
  session_seq: STEP,
  retention_class: `'default'`,
  event_id: 'generateUUIDv7(number)',
  timestamp: `toDateTime64({time}, 6, 'UTC')`,
  event_type: TYPE,
  session_id: SESSION,
  agent_id: `concat('agent ', toString(${HASH} % ${AGENTS}))`,
  agent_version: `'1.4.2'`,
  model_id: `'model-1'`,
  system_prompt_hash: `toFixedString('prompt', 32)`,
  step_number: STEP,
  outcome: `if(${IS_ERROR}, 'error', if(${IS_TOOL}, 'success', NULL))`,
  output_text: `if(${TYPE} = 'llm_call', concat('I look at order ', toString(number), ', then answer. ', repeat('It is on its way. ', 8)), NULL)`,
  input_tokens: `if(${TYPE} = 'llm_call', 800 + ${HASH} % 900, NULL)`,
  output_tokens: `if(${TYPE} = 'llm_call', 40 + cityHash64(number) % 200, NULL)`,
  latency_ms: `if(${TYPE} = 'llm_call', 600 + cityHash64(number) % 900, NULL)`,
  tool_call_id: `if(${IS_TOOL}, concat('call ', toString(intDiv(${STEP}, 3))), NULL)`,
  tool_name: `if(${IS_TOOL}, ${TOOL}, NULL)`,
  tool_input: `if(${TYPE} = 'tool_call', ${INPUT}, NULL)`,
  arguments_sha256: `if(${TYPE} = 'tool_call', SHA256(${INPUT}), NULL)`,
  tool_output: `if(${TYPE} = 'tool_result', concat('{"state":"sent","number":', toString(number), ',"lines":"', repeat('one parcel; ', 12), '"}'), NULL)`,
  error: `if(${IS_ERROR}, concat('timeout of request ', toString(number)), NULL)`,
  requires_approval: 'false',
}

function insertSql(rows: number, time: string): string {
  const values = Object.values(FIELDS).map((value) => value.replaceAll('{time}', time))
  return `
    INSERT INTO {database:Identifier}.${EVENTS_TABLE} (${Object.keys(FIELDS).join(', ')},
      log_id, log_partition, log_offset, log_time, writer_schema)
    SELECT ${values.join(', ')}, '${LOG}', {partition:Int32}, number, toDateTime64(${time}, 3, 'UTC'), 1
    FROM numbers({from:UInt64}, {count:UInt64}) ${settings(rows)}`
}

/** The day that ends when the rows are made. */
export async function makeDay(admin: Analytics, rows: number, say: (line: string) => void): Promise<void> {
  const offsets = rows / PARTITIONS
  const time = `now64(6) - toIntervalMillisecond(toInt64(({offsets:UInt64} - number) * (86400000. / {offsets:UInt64})))`
  for (let from = 0; from < offsets; from += OFFSETS_AN_INSERT) {
    const count = Math.min(OFFSETS_AN_INSERT, offsets - from)
    for (let partition = 0; partition < PARTITIONS; partition++) {
      await admin.command(insertSql(OFFSETS_AN_INSERT, time), { partition, from, count, offsets })
    }
    say(`detect: ${(from + count) * PARTITIONS} of ${rows} rows made`)
  }
}

/** Appends events of this moment, as a consumer does. */
export async function append(
  admin: Analytics,
  at: { readonly partition: number; readonly from: number; readonly count: number },
): Promise<void> {
  await admin.command(insertSql(at.count, 'now64(6)'), at)
}
