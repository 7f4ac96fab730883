/** Inserts that the pipeline makes: the real blocks, taken where they would be sent. */
import {
  type Assignment,
  type Insert,
  type LogPartition,
  type LogSlice,
  type Sink,
} from '@agent-audit/consumer/pipeline'
import { BufferMemory, createRecordCheck, systemClock, writePartition } from '@agent-audit/consumer/pipeline'

const nothing = (): void => undefined

/** The inserts for these records, which lie in the log from offset `first` on: events before skipped rows. */
export async function insertsOf(
  logPartition: LogPartition,
  values: readonly (Buffer | null)[],
  first = 0,
): Promise<Insert[]> {
  const inserts: Insert[] = []
  const logTimeMs = Date.UTC(2026, 1, 1)
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
    deadInARow: () => Promise.resolve(0),
    identityAt: () => Promise.resolve(undefined),
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
