/**
 * ClickHouse's own way from Kafka into a table, for comparison: a Kafka engine table that reads AvroConfluent with two
 * consumers, and a materialized view into a plain table. At least once; all its CPU is spent in the server.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Analytics } from '@agent-audit/analytics'
import type { Backlog } from './backlog.ts'
import type { RunningConsumer } from './consumer-contenders.ts'
import { recordColumns, TWIN_TABLE } from '../support/store.ts'

export interface EngineOrder {
  readonly admin: Analytics
  readonly brokers: readonly string[]
  readonly registryUrl: string
  readonly backlog: Backlog
  readonly group: string
}

const QUEUE = 'engine_queue'
const VIEW = 'engine_view'
const POLL_MS = 10
const CLAIM_TIMEOUT_MS = 60_000
/** Two consumers, one thread for each. Blocks are at most as large and as old as our batches. */
const SETTINGS = {
  kafka_num_consumers: 2,
  kafka_thread_per_consumer: 1,
  kafka_max_block_size: 50_000,
  kafka_flush_interval_ms: 500,
}
export const ENGINE_SETTINGS: string = Object.entries(SETTINGS)
  .map(([name, value]) => `${name} ${value}`)
  .join(', ')

/** Begins to consume. It has no process of its own; the server's CPU is counted for all contenders. */
export async function startKafkaEngine(order: EngineOrder): Promise<RunningConsumer> {
  const { admin } = order
  await dropEngine(admin)
  await admin.command(queueStatement(order))
  const startedAt = performance.now()
  await admin.command(viewStatement(admin.database))
  return {
    startedAt,
    claimed: async () => ({ at: await untilAssigned(admin), usage: undefined }),
    usage: () => undefined,
    failure: async () => {
      const [row] = await admin.rows<{ failure: string }>(
        `SELECT arrayStringConcat(arrayDistinct(arrayFlatten(groupArray(exceptions.text))), '; ') AS failure
         FROM system.kafka_consumers WHERE table = '${QUEUE}'`,
      )
      return row?.failure === '' ? undefined : row?.failure
    },
    commits: () => Promise.resolve(undefined),
    stop: () => dropEngine(admin),
  }
}

async function dropEngine(admin: Analytics): Promise<void> {
  await admin.command(`DROP TABLE IF EXISTS {database:Identifier}.${VIEW} SYNC`)
  await admin.command(`DROP TABLE IF EXISTS {database:Identifier}.${QUEUE} SYNC`)
}

function queueStatement({ admin, brokers, registryUrl, backlog, group }: EngineOrder): string {
  const settings = {
    kafka_broker_list: brokers.join(','),
    kafka_topic_list: backlog.confluentTopic,
    kafka_group_name: group,
    kafka_format: 'AvroConfluent',
    format_avro_schema_registry_url: registryUrl,
    ...SETTINGS,
  }
  const columns = recordColumns().map(({ name, type }) => `${name} ${type}`)
  const listed = Object.entries(settings).map(
    ([name, value]) => `${name} = ${typeof value === 'number' ? value : `'${value}'`}`,
  )
  return `CREATE TABLE ${admin.database}.${QUEUE} (${columns.join(', ')}) ENGINE = Kafka SETTINGS ${listed.join(', ')}`
}

function viewStatement(database: string): string {
  const names = recordColumns().map(({ name }) => name)
  const position = [
    `unhex('0011223344556677') AS log_id`,
    '_partition AS log_partition',
    '_offset AS log_offset',
    'assumeNotNull(_timestamp_ms) AS log_time',
    '1 AS writer_schema',
  ]
  return `CREATE MATERIALIZED VIEW ${database}.${VIEW} TO ${database}.${TWIN_TABLE} AS
    SELECT ${[...names, ...position].join(', ')} FROM ${database}.${QUEUE}`
}

/** @returns Time of the first partition's assignment, by performance.now(). */
async function untilAssigned(admin: Analytics): Promise<number> {
  const deadline = performance.now() + CLAIM_TIMEOUT_MS
  for (;;) {
    const [row] = await admin.rows<{ assigned: number }>(
      `SELECT toFloat64(sum(length(assignments.partition_id))) AS assigned FROM system.kafka_consumers WHERE table = '${QUEUE}'`,
    )
    if ((row?.assigned ?? 0) > 0) return performance.now()
    if (performance.now() > deadline) throw new Error('the Kafka engine was assigned no partition')
    await sleep(POLL_MS)
  }
}
