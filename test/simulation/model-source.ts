/** The source of one process: a member of the model group, behind a network that loses and delays. */
import { logIdOf, TrailError } from '@agent-audit/schemas'
import type { Assignment, CommitAnswer, LogSlice, Source } from '@agent-audit/consumer/pipeline'
import type { CallFault } from './faults.ts'
import type { Joined, ModelGroup } from './model-group.ts'
import type { ModelPartition } from './model-log.ts'
import type { Call, Process } from './process.ts'
import type { World } from './world.ts'

export const CLUSTER_ID = 'simulated'
/** Its records are of two classes. */
export const TOPIC = 'events.pci'
export const LOG_ID: Buffer = logIdOf(CLUSTER_ID, TOPIC)
const FAULTS = { lost: 'broker: request lost', answerLost: 'broker: answer lost' } as const
const COMMIT_FAULTS = {
  lost: 'commit: request lost',
  answerLost: 'commit: answer lost',
  late: 'commit: lands late',
} as const satisfies Record<string, CallFault>

export interface SourceParts {
  readonly world: World
  readonly group: ModelGroup
  readonly process: Process
}

type Work = (assignment: Assignment) => Promise<void>

export function createModelSource(parts: SourceParts): Source {
  let members = 0
  return {
    sourceId: () => ask(parts, 'cluster id', () => CLUSTER_ID),
    // Only the metrics ask: no fault of this call can break the protocol.
    positions: async () =>
      parts.group.partitions.map(({ partition, committed, start, end }) => {
        return { topic: TOPIC, partition, committed: committed?.offset, start, end }
      }),
    run: (work, draining) => new Member(parts, `${parts.process.name}.${++members}`, work, draining).run(),
    close: () => Promise.resolve(),
  }
}

function ask<T>(
  { process }: SourceParts,
  what: string,
  answer: () => T,
  faults: Call<T>['faults'] = FAULTS,
): Promise<T> {
  return process.call<T>({ to: 'broker', what, faults, serve: (reply) => reply.ok(answer()) })
}

/** One membership: from joining to leaving, over any number of epochs. An epoch does not wait for the work of the previous one. */
class Member {
  readonly #parts: SourceParts
  readonly #id: string
  readonly #work: Work
  readonly #draining: AbortSignal
  readonly #working = new Set<Promise<void>>()
  readonly #failed = Promise.withResolvers<never>()
  readonly #left = new AbortController()
  #epoch = new AbortController()
  /** Ends the epoch in order: batches in hand are finished first. */
  #handOver = new AbortController()

  constructor(parts: SourceParts, id: string, work: Work, draining: AbortSignal) {
    this.#parts = parts
    this.#id = id
    this.#work = work
    this.#draining = draining
  }

  async run(): Promise<void> {
    this.#failed.promise.catch(() => undefined)
    void this.#stay().catch((error: unknown) => this.#failed.reject(error))
    try {
      await Promise.race([this.#failed.promise, aborted(this.#draining)])
      await Promise.race([this.#failed.promise, this.#allDone()])
    } finally {
      this.#left.abort()
      this.#epoch.abort()
      const { group } = this.#parts
      await ask(this.#parts, `${this.#id} leaves`, () => group.leave(this.#id)).catch(() => undefined)
      await this.#allDone()
    }
  }

  async #allDone(): Promise<void> {
    await Promise.all(this.#working)
  }

  async #stay(): Promise<void> {
    const { group, process } = this.#parts
    while (!this.#left.signal.aborted) {
      const joined = await process.call<Joined>({
        to: 'broker',
        what: `${this.#id} joins`,
        faults: FAULTS,
        serve: (reply) => group.join(this.#id, reply),
      })
      if (this.#left.signal.aborted) return
      this.#startEpoch(joined)
      await this.#beat(joined.generation)
      this.#epoch.abort()
    }
  }

  /** Heartbeats until the generation is over. An unanswered one says nothing. */
  async #beat(generation: number): Promise<void> {
    const { world, group, process } = this.#parts
    const interval = world.timing.sessionTimeoutMs / 4
    for (;;) {
      await process.clock.sleep(interval, this.#left.signal)
      if (this.#left.signal.aborted) return
      const beat = (): ReturnType<ModelGroup['heartbeat']> => group.heartbeat(this.#id, generation)
      const answer = await ask(this.#parts, 'heartbeat', beat).catch(() => 'member')
      if (answer === 'member') continue
      if (answer === 'rejoin' && world.random.chance(0.5)) {
        world.tell(process.name, () => 'hands over in order')
        this.#handOver.abort()
        const limit = new AbortController()
        await Promise.race([this.#allDone(), process.clock.sleep(interval, limit.signal)])
        limit.abort()
      }
      return
    }
  }

  #startEpoch({ generation, partitions }: Joined): void {
    this.#epoch.abort()
    if (this.#draining.aborted) return
    this.#epoch = new AbortController()
    this.#handOver = new AbortController()
    for (const partition of partitions) {
      const working = this.#work(this.#assignment(generation, partition)).catch((error: unknown) =>
        this.#failed.reject(error),
      )
      this.#working.add(working)
      void working.finally(() => this.#working.delete(working))
    }
  }

  #assignment(generation: number, partition: number): Assignment {
    const parts = this.#parts
    const log = parts.group.partitions[partition] as ModelPartition
    const ended = this.#epoch.signal
    const draining = AbortSignal.any([this.#draining, this.#handOver.signal])
    return {
      logId: LOG_ID,
      topic: TOPIC,
      partition,
      ended,
      draining,
      // Two requests to two servers: their answers need not be of the same moment. A log that trims is one file.
      async position() {
        if (parts.world.trims) {
          return ask(parts, `position p${partition}`, () => ({
            committed: log.committed,
            start: log.start,
            end: log.end,
          }))
        }
        const [committed, bounds] = await Promise.all([
          ask(parts, `committed p${partition}`, () => log.committed),
          ask(parts, `bounds p${partition}`, () => ({ start: log.start, end: log.end })),
        ])
        return { committed, ...bounds }
      },
      read: (from, until) => read(parts, log, from, AbortSignal.any([ended, draining, until])),
      commit: async (offset, metadata, keepFrom = offset): Promise<CommitAnswer> => {
        if (ended.aborted) return 'refused'
        const commit = (): CommitAnswer => {
          const answer = parts.group.commit({ id: this.#id, generation }, partition, offset, metadata)
          if (answer === 'acknowledged' && parts.world.trims)
            log.start = Math.max(log.start, Math.min(offset - 1, keepFrom))
          return answer
        }
        const what = `commit p${partition} ${offset} '${metadata}'`
        return ask(parts, what, commit, COMMIT_FAULTS).catch(() => 'unanswered')
      },
    }
  }
}

async function* read(
  { process }: SourceParts,
  log: ModelPartition,
  from: number,
  stop: AbortSignal,
): AsyncGenerator<LogSlice, void, void> {
  const stopped = aborted(stop)
  let next = from
  while (!stop.aborted) {
    const what = `fetch p${log.partition} from ${next}`
    const asked = process.call<LogSlice>({
      to: 'broker',
      what,
      faults: FAULTS,
      serve: (reply) => log.fetch(next, reply),
      show: ({ records, nextOffset }) => `[${records.map(({ offset }) => offset).join(' ')}] up to ${nextOffset}`,
    })
    const slice = await Promise.race([stopped, asked.catch(expectRetryable)])
    if (stop.aborted) return
    if (slice === undefined) continue
    next = slice.nextOffset
    yield slice
  }
}

function expectRetryable(error: unknown): undefined {
  if (!(error instanceof TrailError && error.retryable)) throw error
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}
