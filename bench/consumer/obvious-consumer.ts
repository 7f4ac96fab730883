/**
 * The simplest consumer, for comparison: eachBatch of kafkajs, avsc decodes each message to an
 * object, rows as JSONEachRow by the official client, offsets committed after the insert. At least once: a crash between
 * insert and commit stores events twice. A process of its own, configured by the environment.
 */
import { type AuditRecord, NEWEST_SCHEMA } from '@agent-audit/schemas'
import { createClient } from '@clickhouse/client'
import avsc from 'avsc'
import type { EachBatchPayload } from 'kafkajs'
import { connectKafka } from '../support/kafka.ts'

const need = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set`)
  return value
}
/** Single-object encoding: a mark of two bytes, a fingerprint of eight. */
const FRAMING_BYTES = 10
const SETTINGS = { maxRows: 50_000, partitionsConsumedConcurrently: 4 }

const type = avsc.Type.forSchema(JSON.parse(NEWEST_SCHEMA.text) as avsc.Schema)
const clickhouse = createClient({
  url: need('CLICKHOUSE_URL'),
  username: need('CLICKHOUSE_USER'),
  password: need('CLICKHOUSE_PASSWORD'),
  database: need('CLICKHOUSE_DATABASE'),
})
const table = need('BENCH_TABLE')
const kafka = connectKafka(need('KAFKA_BROKERS').split(','))
const consumer = kafka.consumer({ groupId: need('AUDIT_GROUP_ID') })

process.once('SIGTERM', () => {
  void Promise.all([consumer.disconnect(), clickhouse.close()]).then(() => process.exit(0))
})
consumer.on(consumer.events.GROUP_JOIN, () => process.stdout.write('partition claimed\n'))
await consumer.connect()
await consumer.subscribe({ topics: [need('AUDIT_TOPICS')], fromBeginning: true })
await consumer.run({
  autoCommit: false,
  eachBatchAutoResolve: false,
  partitionsConsumedConcurrently: SETTINGS.partitionsConsumedConcurrently,
  eachBatch: writeBatch,
})

async function writeBatch(payload: EachBatchPayload): Promise<void> {
  const { topic, partition, messages } = payload.batch
  for (let first = 0; first < messages.length; first += SETTINGS.maxRows) {
    const chunk = messages.slice(first, first + SETTINGS.maxRows)
    const values = chunk.flatMap(({ value, offset, timestamp }) =>
      value === null ? [] : [toRow(value, { partition, offset, timestamp })],
    )
    await clickhouse.insert({ table, values, format: 'JSONEachRow' })
    const last = chunk.at(-1)?.offset ?? '0'
    payload.resolveOffset(last)
    const offset = String(Number(last) + 1)
    await payload.commitOffsetsIfNecessary({ topics: [{ topic, partitions: [{ partition, offset }] }] })
    await payload.heartbeat()
  }
}

/** JSON cannot carry bytes: run id and digests are hex in this table. */
function toRow(value: Buffer, position: { partition: number; offset: string; timestamp: string }): object {
  const record = type.fromBuffer(value.subarray(FRAMING_BYTES)) as AuditRecord
  return {
    ...record,
    run_id: hex(record.run_id),
    system_prompt_hash: hex(record.system_prompt_hash),
    arguments_sha256: hex(record.arguments_sha256),
    log_id: '0011223344556677',
    log_partition: position.partition,
    log_offset: position.offset,
    log_time: Number(position.timestamp),
    writer_schema: 1,
  }
}

function hex(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}
