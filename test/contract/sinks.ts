/** The sinks under test, and how an insert is sent to them. */
import { randomBytes } from 'node:crypto'
import { readSettings } from '@agent-audit/consumer'
import {
  type ClickHouseSink,
  composeParts,
  type Insert,
  insertId,
  type LogPartition,
} from '@agent-audit/consumer/pipeline'
import { openEmbedded, openStore, patientEnvironmentOf } from '../consumer/support.ts'
import { encodeRecord, makeRecord } from '../support/records.ts'
import { insertsOf } from './blocks.ts'
import { openModelStore } from './model.ts'

export interface SinkUnderTest {
  readonly sink: ClickHouseSink
  /** A record that passes the check, and that the store refuses for its data. */
  readonly refusedRecord: (run: string, seq: number) => Promise<Buffer>
  /** Adds an expiry note of some offsets. */
  readonly note: (logPartition: LogPartition, first: number, last: number) => Promise<void>
}

const store = await openStore()

export async function openClickHouse(): Promise<SinkUnderTest> {
  const log = await openEmbedded(store)
  // No time limit decides a test: an answer that comes late on a busy machine would be unclear.
  const { sink } = composeParts(readSettings(patientEnvironmentOf(store, log)))
  const forbid = `ALTER TABLE audit_events ADD CONSTRAINT IF NOT EXISTS forbidden CHECK agent_id != 'forbidden'`
  return {
    sink,
    async refusedRecord(run, seq) {
      await store.send(forbid, store.dataDir.admin)
      return encodeRecord(makeRecord(run, seq, { agent_id: 'forbidden' }))
    },
    async note({ logId, partition }, first, last) {
      const values = `(unhex('${logId.toString('hex')}'), ${partition}, ${first}, ${last}, 'default', 202001)`
      const columns = 'log_id, log_partition, first_offset, last_offset, retention_class, month'
      await store.send(`INSERT INTO audit_expired (${columns}) VALUES ${values}`, store.dataDir.admin)
    },
  }
}

async function openModel(): Promise<SinkUnderTest> {
  const { sink, refuse, note } = openModelStore()
  return {
    sink,
    note: async (logPartition, first, last) => note(logPartition, first, last),
    async refusedRecord(run, seq) {
      refuse(seq)
      return encodeRecord(makeRecord(run, seq))
    },
  }
}

const LEASE_MS = 60_000

export const newLogPartition = (): LogPartition => ({ logId: randomBytes(8), topic: 'events', partition: 3 })

export async function send(
  sink: ClickHouseSink,
  logPartition: LogPartition,
  insert: Insert,
  change: Partial<Insert> = {},
) {
  const fencedAt = await sink.now()
  const queryId = insertId([logPartition])
  return sink.insert({ ...insert, queryId, token: queryId, fencedAt, deadline: fencedAt + LEASE_MS, ...change })
}

export async function only(logPartition: LogPartition, values: readonly (Buffer | null)[], first = 0): Promise<Insert> {
  const [insert, ...more] = await insertsOf(logPartition, values, first)
  if (insert === undefined || more.length > 0) throw new Error(`expected one insert, not ${more.length + 1}`)
  return insert
}

export const SINKS: readonly (readonly [string, () => Promise<SinkUnderTest>])[] = [
  ['ClickHouse', openClickHouse],
  ['the model', openModel],
]
