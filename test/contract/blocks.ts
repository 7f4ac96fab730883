/** Inserts that the pipeline makes: the real blocks, taken where they would be sent. */
import {
  type Assignment,
  type Insert,
  type LogPartition,
  type LogSlice,
  type Sink,
} from '@agent-audit/consumer/pipeline'
import {
  BufferMemory,
  createRecordCheck,
  Pace,
  SharedInserts,
  systemClock,
  writePartition,
} from '@agent-audit/consumer/pipeline'
import { blockLengths, CONTAINER_SYNC, encodeContainer } from '@agent-audit/schemas'

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
  const limits = { maxEvents: 1e6, maxBytes: 2 ** 24, maxDeadInARow: 1000 }
  await writePartition(assignment, {
    sink,
    inserts: new SharedInserts({ sink, clock: systemClock, pace: new Pace(1000), limits, inserted: nothing }),
    clock: systemClock,
    memory: new BufferMemory(2 ** 24),
    check: createRecordCheck(undefined),
    observer: {
      recovered: nothing,
      writing: nothing,
      written: nothing,
      notInserted: nothing,
      rowsMissing: nothing,
      recovering: nothing,
      stopped: nothing,
      ended: nothing,
      committed: nothing,
      sealsBegin: nothing,
      sealed: nothing,
      unsealed: nothing,
    },
    options: {
      leaseMs: 1000,
      marginMs: 0,
      renewMs: 500,
      limits,
    },
  })
  return inserts
}

/** One insert with the rows of several, which are for one table: as the pipeline shares it. */
export function joinInserts(inserts: readonly (Insert | undefined)[]): Insert {
  const [first] = inserts
  if (first === undefined) throw new Error('expected inserts')
  const blocks = inserts.map((insert) => readBlock(Buffer.concat(insert?.body ?? [])))
  const data = Buffer.concat(blocks.map(({ rows }) => rows))
  const lengths = blockLengths(
    blocks.reduce((sum, { count }) => sum + count, 0),
    data.length,
  )
  return { ...first, body: [blocks[0]?.header ?? Buffer.alloc(0), lengths, data, CONTAINER_SYNC] }
}

function readBlock(container: Buffer): { header: Buffer; count: number; rows: Buffer } {
  const start = container.indexOf(CONTAINER_SYNC) + CONTAINER_SYNC.length
  const count = readLong(container, start)
  const size = readLong(container, count.next)
  return {
    header: container.subarray(0, start),
    count: count.value,
    rows: container.subarray(size.next, -CONTAINER_SYNC.length),
  }
}

/** A zigzag varint. */
function readLong(bytes: Buffer, at: number): { value: number; next: number } {
  let [value, next, scale] = [0, at, 1]
  for (let more = true; more; next++, scale *= 128) {
    value += ((bytes[next] ?? 0) & 127) * scale
    more = (bytes[next] ?? 0) > 127
  }
  return { value: value / 2, next }
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
