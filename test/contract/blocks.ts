/** Inserts that the pipeline makes: the real blocks, taken where they would be sent. */
import {
  type Assignment,
  type Insert,
  type LogPartition,
  type LogSlice,
  type Sink,
} from '@agent-audit/consumer/pipeline'
import { BufferMemory, createRecordCheck, systemClock, writePartition } from '@agent-audit/consumer/pipeline'
import { encodeContainer } from '@agent-audit/schemas'

const nothing = (): void => undefined

/** The inserts for these records, which lie in the log from offset `first` on: events before skipped rows. */
export async function insertsOf(
  logPartition: LogPartition,
  values: readonly (Buffer | null)[],
  first = 0,
  logTimeMs = Date.UTC(2026, 1, 1),
): Promise<Insert[]> {
  const inserts: Insert[] = []
  const records = values.map((value, index) => ({
    offset: first + index,
    logTimeMs,
    key: null,
    value,
    headers: undefined,
  }))
  const end = first + values.length
  const slice: LogSlice = { firstOffset: first, records, nextOffset: end, logEnd: end }
  const never = new AbortController().signal
  const assignment: Assignment = {
    ...logPartition,
    ended: never,
    draining: never,
    position: () => Promise.resolve({ committed: { offset: first, metadata: 'clean' }, start: first, end }),
    async *read() {
      yield slice
    },
    commit: () => Promise.resolve('acknowledged'),
  }
  const sink: Sink = {
    now: () => Promise.resolve(0),
    runningInserts: () => Promise.resolve(0),
    accounted: () => Promise.resolve([]),
    expired: () => Promise.resolve([]),
    deadInARow: () => Promise.resolve(0),
    countOffsets: (_, range) => Promise.resolve(range.last - range.first + 1),
    rowsBetween: () => Promise.resolve([]),
    quarantined: () => Promise.resolve([]),
    highestSeqs: () => Promise.resolve(new Map()),
    stored: () => Promise.resolve([]),
    insert(insert) {
      inserts.push({ ...insert, body: [Buffer.concat(insert.body)] })
      return Promise.resolve({ kind: 'stored' })
    },
  }
  await writePartition(assignment, {
    sink,
    clock: systemClock,
    memory: new BufferMemory(2 ** 24),
    check: createRecordCheck(undefined),
    observer: {
      recovered: nothing,
      writing: nothing,
      written: nothing,
      inserted: nothing,
      notInserted: nothing,
      rowsMissing: nothing,
      recovering: nothing,
      stopped: nothing,
      ended: nothing,
      committed: nothing,
    },
    options: {
      leaseMs: 1000,
      marginMs: 0,
      renewMs: 500,
      limits: { maxEvents: 1e6, maxBytes: 2 ** 24, maxAgeMs: 1000, maxDeadInARow: 1000 },
    },
  })
  return inserts
}

const HOLE_SCHEMA = {
  type: 'record',
  name: 'Hole',
  fields: [
    ...['kind', 'reason', 'retention_class'].map((name) => ({ name, type: 'string' })),
    { name: 'run_id', type: ['null', { type: 'fixed', name: 'run_id', size: 16 }] },
    { name: 'run_seq', type: ['null', 'long'] },
    ...['key', 'value', 'headers'].map((name) => ({ name, type: ['null', 'string'] })),
    { name: 'log_id', type: { type: 'fixed', name: 'log_id', size: 8 } },
    { name: 'log_partition', type: 'int' },
    { name: 'log_offset', type: 'long' },
    { name: 'log_time', type: { type: 'long', logicalType: 'timestamp-millis' } },
  ],
}

/** One block of holes at the offsets from 0 on, as the pipeline never makes it: with any class and time. */
export function encodeHoles(
  { logId, partition }: LogPartition,
  rows: readonly { readonly retention_class?: string; readonly log_time?: number }[],
): Buffer {
  const values = rows.map((row, offset) => ({
    kind: 'hole',
    reason: '',
    retention_class: 'default',
    run_id: null,
    run_seq: null,
    key: null,
    value: null,
    headers: null,
    log_id: logId,
    log_partition: partition,
    log_offset: offset,
    log_time: Date.UTC(2026, 1, 1),
    ...row,
  }))
  return encodeContainer(HOLE_SCHEMA as never, values)
}
