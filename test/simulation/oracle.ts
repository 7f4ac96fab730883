/** Checks the final state: each offset has one row, each record one event. */
import { SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import type { LogRecord } from '@agent-audit/consumer/pipeline'
import type { Row } from './insert-rows.ts'
import type { ModelPartition } from './model-log.ts'
import { LOG_ID } from './model-source.ts'
import type { ModelStore } from './model-store.ts'
import { identityOf } from './workload.ts'
import type { World } from './world.ts'

/** First offset that is neither in a table nor expired. */
export function accountedUpTo(store: ModelStore, { partition }: ModelPartition): number {
  const logPartition = { logId: LOG_ID, topic: '', partition }
  const [rows, noted] = [store.rowsOf(logPartition), store.notedIn(logPartition)]
  let next = 0
  while (rows.has(next) || noted.has(next)) next++
  return next
}

/**
 * The violation in the rows of a partition; undefined if there is none. The store itself detects a second row of an offset or
 * a record, when it lands.
 */
export function findFault(store: ModelStore, log: ModelPartition, world: World): string | undefined {
  const logPartition = { logId: LOG_ID, topic: '', partition: log.partition }
  const rows = store.rowsOf(logPartition)
  const events = { stored: store.identitiesOf(logPartition), expired: store.retention.identities }
  const noted = store.notedIn(logPartition)
  let expired = 0
  for (let offset = 0; offset < log.end; offset++) {
    const row = rows.get(offset)
    if (row === undefined && noted.has(offset)) {
      expired++
      continue
    }
    const record = log.records[offset]
    const wrong = row === undefined ? 'has no row' : (compare(row, record?.value, events, world) ?? keptOf(row, record))
    if (wrong !== undefined) return `offset ${offset} of partition ${log.partition} ${wrong}`
  }
  return rows.size + expired === log.end
    ? undefined
    : `partition ${log.partition} has rows of offsets that the log does not have`
}

/** Records with an event by identity: those in the table with their offsets, and those that have expired. */
interface Events {
  readonly stored: ReadonlyMap<string, number>
  readonly expired: ReadonlySet<string>
}

function compare(row: Row, value: Buffer | null | undefined, events: Events, world: World): string | undefined {
  const identity = value === undefined ? undefined : identityOf(value)
  if (identity === undefined) {
    const expected = value === undefined ? 'hole' : 'dead'
    return row.kind === expected ? undefined : `is ${row.kind ?? 'an event'}, not ${expected}`
  }
  if (`${row.runId}:${row.runSeq}` !== identity) return `is another record than the one in the log`
  if (world.refuses(row.runSeq)) {
    return row.kind === 'dead' ? undefined : `is ${row.kind ?? 'an event'}, though the store refuses it`
  }
  const event = events.stored.get(identity)
  // A duplicate outlives the event that it repeats, if that one was appended in an earlier month.
  if (event === undefined && row.kind === 'duplicate' && events.expired.has(identity)) return undefined
  if (event === undefined) return `is ${row.kind}, and its record is no event anywhere`
  if (row.table === 'audit_events') {
    const body = value?.subarray(SINGLE_OBJECT_BYTES) ?? Buffer.alloc(0)
    return row.bytes.subarray(0, body.length).equals(body) ? undefined : 'has other bytes than the log'
  }
  return row.kind === 'duplicate' && event !== row.offset ? undefined : `is ${row.kind}, not a duplicate`
}

/** Duplicates and dead letters keep all bytes of their record. */
function keptOf(row: Row, record: Pick<LogRecord, 'key' | 'value' | 'headers'> | undefined): string | undefined {
  if (row.table === 'audit_events' || record === undefined) return undefined
  const { key, value, headers } = record
  const sent = headers && Object.entries(headers).map(([name, header]) => [name, (header as Buffer).toString('base64')])
  const expected = [key?.toString('hex'), value?.toString('hex'), sent && JSON.stringify(sent)]
  const kept = [row.key?.toString('hex'), row.value?.toString('hex'), row.headers ?? undefined]
  return JSON.stringify(kept) === JSON.stringify(expected) ? undefined : `is ${row.kind}, and its bytes are not kept`
}
