/** A partition without work: its clean commit waits until rows are compared, and tells of every seal. */
import {
  type Assignment,
  BufferMemory,
  createRecordCheck,
  type LogRecord,
  Pace,
  type PartitionObserver,
  SealTopics,
  SharedInserts,
  type Sink,
  type StoredRow,
  systemClock,
  writePartition,
} from '@agent-audit/consumer/pipeline'
import { generateKey, signerFromPem } from '@agent-audit/seals'
import { expect, it, onTestFinished, vi } from 'vitest'
import { encodeRun, runIdOf, uuidOf } from '../support/records.ts'

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
const WAIT = { timeout: 10_000, interval: 10 }
const TIMING = { leaseMs: 60_000, marginMs: 0, renewMs: 20 }

const records: readonly LogRecord[] = encodeRun('idle', 0, 2).map((value, offset) => {
  return { offset, logTimeMs: Date.UTC(2026, 1, 1), key: null, value, headers: undefined }
})

interface Script {
  /** Offset and metadata of each commit, such as `2 clean`; times and hashes are left out. */
  readonly commits: string[]
  readonly committing: (commit: string) => void
  /** Awaited before a record is read. */
  readonly reading: (offset: number) => Promise<void>
  readonly sink: Partial<Sink>
  readonly seals?: SealTopics | undefined
}

/** Writes the records, one in a batch, and then idles until it is drained, by the test's end. */
function write({ commits, committing, reading, sink: changed, seals }: Script): { drain: () => Promise<void> } {
  const drain = new AbortController()
  let committed = { offset: 0, metadata: 'clean sealed -1 none' }
  const assignment: Assignment = {
    logId: Buffer.alloc(8),
    topic: 'events',
    partition: 0,
    ended: new AbortController().signal,
    draining: drain.signal,
    position: async () => ({ committed, start: 0, end: 3 }),
    async *read(from, until) {
      const stopped = new Promise<void>((resolve) => {
        for (const signal of [until, drain.signal]) signal.addEventListener('abort', () => resolve(), { once: true })
      })
      for (const record of records.slice(from)) {
        await Promise.race([reading(record.offset), stopped])
        if (until.aborted || drain.signal.aborted) return
        yield { firstOffset: record.offset, records: [record], nextOffset: record.offset + 1, logEnd: 3 }
      }
      await stopped
    },
    commit: async (offset, metadata) => {
      const commit = `${offset} ${metadata.replace(/busy \d+/, 'busy').replaceAll(/[A-Za-z0-9+/]{43}=/g, 'hash')}`
      committing(commit)
      committed = { offset, metadata }
      commits.push(commit)
      return 'acknowledged'
    },
  }
  const sink: Sink = {
    now: async () => Date.now(),
    runningInserts: async () => 0,
    accounted: async () => [],
    expired: async () => [],
    deadInARow: async () => 0,
    countOffsets: async (_, { first, last }) => last - first + 1,
    rowsBetween: async () => [],
    quarantined: async () => [],
    highestSeqs: async () => new Map(),
    stored: async () => [],
    insert: async () => ({ kind: 'stored' }),
    ...changed,
  }
  const limits = { maxEvents: 1, maxBytes: 2 ** 20, maxDeadInARow: 1000 }
  const done = writePartition(assignment, {
    sink,
    clock: systemClock,
    inserts: new SharedInserts({ sink, clock: systemClock, pace: new Pace(1), limits, inserted: NOTHING }),
    memory: new BufferMemory(2 ** 24),
    check: createRecordCheck(undefined),
    observer: OBSERVER,
    seals,
    options: { ...TIMING, limits },
  })
  const end = (): Promise<void> => {
    drain.abort()
    return done
  }
  onTestFinished(async () => {
    await end()
    await seals?.close()
  })
  return { drain: end }
}

it.each(['it goes on', 'it is drained'])(
  'says nothing clean above rows of an unclear insert before they are compared with the log, and %s',
  async (then) => {
    const commits: string[] = []
    const [comparing, go] = [vi.fn<() => void>(), Promise.withResolvers<void>()]
    let unclear = 0
    const row: StoredRow = {
      offset: 0,
      kind: 'event',
      runId: runIdOf('idle').toString('hex'),
      runSeq: 0,
      eventId: uuidOf('idle 0'),
      reason: null,
      logTimeMs: Date.UTC(2026, 1, 1),
      retentionClass: 'default',
    }
    const { drain } = write({
      commits,
      committing: NOTHING,
      reading: async (offset) => {
        if (unclear === 0) return
        if (offset > 0) return new Promise(NOTHING)
        comparing()
        await go.promise
      },
      sink: {
        now: async () => Date.now() + (unclear === 0 ? 0 : TIMING.leaseMs + 1),
        accounted: async () => (unclear === 0 ? [] : [{ first: 0, last: 0 }]),
        rowsBetween: async (_, { first }, which) => (first === 0 && which === 'counting' ? [row] : []),
        insert: async () => {
          unclear++
          return { kind: 'unclear', reason: 'cut' }
        },
      },
    })
    await vi.waitFor(() => expect(comparing).toHaveBeenCalled(), WAIT)
    // Longer than the lease is used: by then an idle partition gives it up.
    await new Promise((resolve) => setTimeout(resolve, 3 * TIMING.renewMs))
    expect(commits).toEqual(['0 busy'])
    if (then === 'it is drained') {
      await drain()
      return expect(commits).toEqual(['0 busy'])
    }
    go.resolve()
    await vi.waitFor(() => expect(commits).toEqual(['0 busy', '1 clean']), WAIT)
  },
)

it('tells of a seal that its topic got while a clean commit was on its way, and seals the rest', async () => {
  const commits: string[] = []
  const [third, sent] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const sizes: number[] = []
  const signer = signerFromPem(generateKey('consumer'))
  const seals = new SealTopics({
    signer,
    clock: systemClock,
    observer: { sealsWait: NOTHING, sealsGoOn: NOTHING },
    createSender: () => ({
      connect: async () => ({ cluster: 'one', partitions: new Map() }),
      send: async (_, notes) => {
        if (sizes.push(notes.length) === 1) await sent.promise
        return { baseOffset: 0 }
      },
      close: async () => undefined,
    }),
  })
  write({
    commits,
    committing: (commit) => {
      if (commit.startsWith('2 clean')) third.resolve()
      if (/^3 clean .* to \d$/.test(commit)) sent.resolve()
    },
    reading: async (offset) => (offset === 2 ? third.promise : undefined),
    sink: {},
    seals,
  })
  await vi.waitFor(() => expect(commits.at(-1)).toBe('3 clean sealed 2 hash'), WAIT)
  // The seal was under way until then.
  expect(commits.filter((commit) => commit.includes('hash'))).toHaveLength(2)
})
