/** The old lease ends when its renewal is sent: it carries no insert from then on, whatever becomes of the commit. */
import {
  type Assignment,
  BufferMemory,
  type CommitAnswer,
  createRecordCheck,
  Pace,
  type PartitionObserver,
  SharedInserts,
  type Sink,
  systemClock,
  writePartition,
} from '@agent-audit/consumer/pipeline'
import { expect, it, vi } from 'vitest'
import { encodeRun } from '../support/records.ts'

const LEASE_MS = 20_000
const RENEW_MS = 5000
const NOTHING = (): void => undefined
const OBSERVER: PartitionObserver = {
  recovered: NOTHING,
  writing: NOTHING,
  written: NOTHING,
  notInserted: NOTHING,
  rowsMissing: NOTHING,
  recovering: NOTHING,
  stopped: NOTHING,
  ended: NOTHING,
  committed: NOTHING,
  sealsBegin: NOTHING,
  sealed: NOTHING,
  unsealed: NOTHING,
}

interface Script {
  /** Metadata of the commits sent so far. */
  readonly commits: readonly string[]
  /** F and deadline of the inserts sent so far. */
  readonly leases: readonly (readonly [number, number])[]
  readonly done: Promise<void>
}

interface Passing {
  /** How far the clock moves amid the first insert, milliseconds: until the lease is due for renewal. */
  readonly amidFirst?: number
  /** And before the second batch is written. */
  readonly beforeSecond?: number
}

/** Writes two records, each in a batch of its own. */
function writeTwo(
  answer: (commit: number) => CommitAnswer | Promise<CommitAnswer>,
  { amidFirst = RENEW_MS, beforeSecond = 0 }: Passing = {},
): Script {
  const commits: string[] = []
  const leases: [number, number][] = []
  // One clock for both sides. It stands still except where the script moves it, well within the lease.
  let nowMs = 1_000_000
  const never = new AbortController().signal
  const records = encodeRun('renewed', 0, 1).map((value, offset) => {
    return { offset, logTimeMs: Date.UTC(2026, 1, 1), key: null, value, headers: undefined }
  })
  const assignment: Assignment = {
    logId: Buffer.alloc(8),
    topic: 'events',
    partition: 0,
    ended: never,
    draining: never,
    position: async () => ({ committed: { offset: 0, metadata: 'clean' }, start: 0, end: 2 }),
    async *read() {
      yield { firstOffset: 0, records, nextOffset: 2, logEnd: 2 }
    },
    commit: async (_offset, metadata) => answer(commits.push(metadata)),
    expectSameLog: async () => void (leases.length === 1 && (nowMs += beforeSecond)),
  }
  const sink: Sink = {
    now: async () => nowMs,
    runningInserts: async () => 0,
    accounted: async () => [],
    expired: async () => [],
    deadInARow: async () => 0,
    countOffsets: async (_, { first, last }) => last - first + 1,
    rowsBetween: async () => [],
    quarantined: async () => [],
    highestSeqs: async () => new Map(),
    stored: async () => [],
    async insert({ fencedAt, deadline }) {
      leases.push([fencedAt, deadline])
      if (leases.length === 1) nowMs += amidFirst
      return { kind: 'stored' }
    },
  }
  const clock = { ...systemClock, now: () => nowMs }
  const limits = { maxEvents: 1, maxBytes: 2 ** 20, maxDeadInARow: 1000 }
  const done = writePartition(assignment, {
    sink,
    clock,
    inserts: new SharedInserts({ sink, clock, pace: new Pace(1000), limits, inserted: NOTHING }),
    memory: new BufferMemory(2 ** 24),
    check: createRecordCheck(undefined),
    observer: OBSERVER,
    options: {
      leaseMs: LEASE_MS,
      marginMs: 0,
      renewMs: RENEW_MS,
      limits,
    },
  })
  return { commits, leases, done }
}

const [F1, F2] = [1_000_000, 1_000_000 + RENEW_MS]
const FIRST = [F1, F1 + LEASE_MS]
const SECOND = [F2, F2 + LEASE_MS]

it.each<CommitAnswer>(['unanswered', 'refused'])(
  'sends no insert and no commit after a renewal that was %s, though the old lease would last',
  async (answer) => {
    const { commits, leases, done } = writeTwo((commit) => (commit === 2 ? answer : 'acknowledged'))
    await expect(done).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' })
    expect(commits).toEqual([`busy ${F1}`, `busy ${F2}`])
    expect(leases).toEqual([FIRST])
  },
)

it('holds the next insert back until the renewal is answered, and then sends it under the new lease', async () => {
  const renewal = Promise.withResolvers<CommitAnswer>()
  const { commits, leases, done } = writeTwo((commit) => (commit === 2 ? renewal.promise : 'acknowledged'))
  await vi.waitFor(() => expect(commits).toHaveLength(2))
  // All that the writer can do without the answer has been done before an immediate.
  await new Promise((resolve) => setImmediate(resolve))
  expect(leases).toEqual([FIRST])
  renewal.resolve('acknowledged')
  await done
  expect(leases).toEqual([FIRST, SECOND])
  expect(commits).toEqual([`busy ${F1}`, `busy ${F2}`, 'clean'])
})

it('renews a lease that would be due while other partitions are waited for: they wait for no commit', async () => {
  const { leases, done } = writeTwo(() => 'acknowledged', { amidFirst: 0, beforeSecond: RENEW_MS - 10 })
  await done
  expect(leases).toEqual([FIRST, [F2 - 10, F2 - 10 + LEASE_MS]])
})
