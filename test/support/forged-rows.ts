/** Rows that a client with the writer's password inserts. */
import { logIdOf } from '@agent-audit/schemas'
import type { Store, TestLog } from '../consumer/support.ts'
import { runIdOf } from './records.ts'

export interface ForgedRow {
  readonly offset: number
  readonly partition?: number
  /** A name of {@link runIdOf}, or 32 hex digits. */
  readonly run?: string
  readonly seq?: number
  /** @defaultValue 'event' */
  readonly kind?: string
  /** Of an event. @defaultValue a new one */
  readonly eventId?: string
  /** Of the insert. */
  readonly token?: string
}

/** Inserts one row as the writer. */
export async function forge(store: Store, log: TestLog, row: ForgedRow): Promise<void> {
  const { offset, partition = 0, run = 'a', seq = offset, kind = 'event', eventId, token } = row
  const position = `unhex('${logIdOf(log.sourceId, log.topic).toString('hex')}'), ${partition}, ${offset}, now64(3)`
  const columns = 'retention_class, run_id, run_seq, log_id, log_partition, log_offset, log_time'
  const runHex = /^[0-9a-f]{32}$/.test(run) ? run : runIdOf(run).toString('hex')
  const run_id = kind === 'hole' ? 'NULL, NULL' : `unhex('${runHex}'), ${seq}`
  const event_id = eventId === undefined ? 'generateUUIDv7()' : `'${eventId}'`
  const values = `'default', ${run_id}, ${position}`
  const statement =
    kind === 'event'
      ? `INSERT INTO audit_events (${columns}, event_id, content) VALUES (${values}, ${event_id}, 'forged')`
      : `INSERT INTO audit_skipped (${columns}, kind) VALUES (${values}, '${kind}')`
  const now = Date.now()
  const settings = { log_comment: `${now} ${now + 60_000}`, ...(token && { insert_deduplication_token: token }) }
  const answer = await store.send(statement, store.dataDir.writer, settings)
  if (answer !== '') throw new Error(answer)
}
