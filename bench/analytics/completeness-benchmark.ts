/**
 * Measures `verify --completeness`. ClickHouse itself makes the rows, which is the quickest way: runs that end properly, each
 * spread over all partitions, with realistic values in the columns that the check reads.
 */
import { completeness } from '@agent-audit/analytics'
import { EVENTS_TABLE, NEWEST_SCHEMA } from '@agent-audit/schemas'
import { type CompletenessPart, type CompletenessRound, rounded } from '../support/results.ts'
import type { Store } from '../support/store.ts'

export interface CompletenessBenchmark {
  readonly store: Store
  readonly rows: number
  readonly rounds: number
  readonly say: (line: string) => void
}

const PARTITIONS = 12
/** Has no divisor in common with the number of partitions, so that each run is in all of them. */
const RUNS = 101
const ROWS_AN_INSERT = 1_000_000
export async function benchmarkCompleteness(order: CompletenessBenchmark): Promise<CompletenessPart> {
  const { store, rounds, say } = order
  // All runs end with the same number of rows: a row beyond would continue a run that has ended.
  const rows = order.rows - (order.rows % RUNS)
  await store.clear()
  for (let from = 0; from < rows; from += ROWS_AN_INSERT)
    await addRows(store, from, Math.min(ROWS_AN_INSERT, rows - from), rows)
  say(`completeness: ${rows} rows made`)
  const measured: CompletenessRound[] = []
  for (const state of ['complete', 'faulty'] as const) {
    if (state === 'faulty') await addFaults(store, rows)
    for (let round = 1; round <= rounds; round++) {
      const startedAt = performance.now()
      const { verdict, events } = await completeness(store.admin)
      const seconds = rounded((performance.now() - startedAt) / 1000, 2)
      if (verdict !== (state === 'complete' ? 'complete' : 'repeated'))
        throw new Error(`${state} rows are reported as ${verdict}`)
      measured.push({ state, round, rows: events, seconds })
      say(`completeness, ${state}, round ${round}: ${events} rows in ${seconds} s`)
    }
  }
  await store.clear()
  return { partitions: PARTITIONS, runs: RUNS, rounds: measured }
}

async function addRows(store: Store, from: number, count: number, rows: number): Promise<void> {
  await store.admin.command(
    `INSERT INTO {database:Identifier}.${EVENTS_TABLE} (${ALL_COLUMNS})
     SELECT ${VALUES}, 'benchlog', number % ${PARTITIONS}, intDiv(number, ${PARTITIONS}),
       toDateTime64('2026-01-01 00:00:00', 3, 'UTC') + toIntervalMillisecond(intDiv(number, 100)), 1
     FROM numbers({from:UInt64}, {count:UInt64}) SETTINGS log_comment = '${NO_DEADLINE}'`,
    { from, count, lastSeq: rows / RUNS - 1 },
  )
}

/** Repeats some rows of one run, so that no partition adds up, and adds a row of another run with a gap before it. */
async function addFaults(store: Store, rows: number): Promise<void> {
  const into = `INSERT INTO {database:Identifier}.${EVENTS_TABLE} (${ALL_COLUMNS})`
  const from = `FROM {database:Identifier}.${EVENTS_TABLE} WHERE run_id = unhex(leftPad('0', 32, '0'))`
  const setting = `SETTINGS log_comment = '${NO_DEADLINE}'`
  await store.admin.command(`${into} SELECT ${ALL_COLUMNS} ${from} AND run_seq % 1000 = 0 ${setting}`)
  await store.admin.command(
    `${into} SELECT * REPLACE (unhex(repeat('f', 32)) AS run_id, {beyond:Int64} AS log_offset)
     FROM (SELECT ${ALL_COLUMNS} ${from} AND run_seq = 5) ${setting}`,
    { beyond: rows },
  )
}

/** A lease that never ends: no consumer makes these inserts. */
const NO_DEADLINE = '9000000000000 9000000000000'
const FIELDS: Readonly<Record<string, string>> = {
  run_id: `unhex(leftPad(lower(hex(number % ${RUNS})), 32, '0'))`,
  run_seq: `intDiv(number, ${RUNS})`,
  producer_id: `'bench'`,
  session_seq: `intDiv(number, ${RUNS}) % 50`,
  retention_class: `'default'`,
  event_id: 'generateUUIDv7(number)',
  timestamp: `toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + toIntervalMicrosecond(number * 10)`,
  event_type: `if(intDiv(number, ${RUNS}) = {lastSeq:UInt64}, 'trail_stopped', 'llm_call')`,
  session_id: `concat('session ', toString(number % ${RUNS}), ' ', toString(intDiv(number, ${RUNS} * 50)))`,
  agent_id: `'agent'`,
  step_number: `intDiv(number, ${RUNS}) % 50`,
  requires_approval: 'false',
  output_text: `concat('answer ', toString(number))`,
}
const COLUMNS = NEWEST_SCHEMA.fields
  .filter(({ name }) => name in FIELDS)
  .map(({ name }) => name)
  .join(', ')
const VALUES = NEWEST_SCHEMA.fields
  .filter(({ name }) => name in FIELDS)
  .map(({ name }) => FIELDS[name])
  .join(', ')
const ALL_COLUMNS = `${COLUMNS}, log_id, log_partition, log_offset, log_time, writer_schema`
