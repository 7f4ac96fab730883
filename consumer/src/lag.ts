/**
 * How far the tables are behind the log: for each partition of this consumer the offsets that have no row yet, and the age of
 * the oldest of them. It is known from the log's end, which is polled, and from the writer, which says what is stored: so it
 * rises also while nothing is stored.
 */
import type { LogPartition, LogPosition, Source } from '@agent-audit/kafka'
import type { Logger } from 'pino'
import { type Clock, orTimeIsUp, TIME_IS_UP } from './pipeline/clock.ts'

/** How often the log's ends are polled, and how long a poll may take, milliseconds. */
const [POLL_MS, POLL_TIMEOUT_MS] = [5000, 10_000]
/** Polls that keep a partition which the group took, hidden: a rebalance often gives it back. */
const POLLS_KEPT = 2

export interface LagSample {
  readonly topic: string
  readonly partition: number
  /** Offsets of the log that have no row yet. */
  readonly records: number
  /** Since the append of the first of them, milliseconds; 0 if there is none. */
  readonly oldestAgeMs: number
}

type Position = Pick<LogPosition, 'committed' | 'start' | 'end'>

/** The lag of one partition. Times are milliseconds since 1970. */
export class PartitionLag {
  owned = true
  /** Polls since it was owned. */
  pollsUnowned = 0
  /** First offset that has no row. Until the tables are read, the group's committed offset, which is not above it. */
  #next: number | undefined
  #end: number | undefined
  /** The record at `next` was appended at this time or later: a record's time, or a poll that found nothing to store. */
  #since: number | undefined
  /** The first poll that found something to store. Stands in for `since` until that is known. */
  #seenAt: number | undefined

  /** The tables were read: every offset below `next` has a row. */
  recovered(next: number): void {
    this.#next = next
  }

  /** The record at `next` was appended at this time. */
  noteOldest(logTimeMs: number | undefined): void {
    if (logTimeMs !== undefined) this.#since = Math.max(this.#since ?? 0, logTimeMs)
  }

  /** Every offset below `next` has a row; the last of them was appended at `logTimeMs`, so what follows is not older. */
  stored(next: number, logEnd: number, logTimeMs: number | undefined): void {
    this.#next = next
    this.#end = Math.max(this.#end ?? 0, logEnd)
    this.noteOldest(logTimeMs)
  }

  /**
   * @param at - Before the poll was sent.
   * @returns false if another consumer has stored since: this one owns the partition no more.
   */
  polled({ committed, start, end }: Position, at: number): boolean {
    // This consumer commits nothing above `next`: an earlier or a later owner did.
    const another = committed !== undefined && this.#next !== undefined && committed > this.#next
    if (another && !this.owned) return false
    if (another || this.#next === undefined) this.#next = committed ?? start
    this.#end = Math.max(this.#end ?? 0, end)
    if (this.#end > this.#next) this.#seenAt ??= at
    else {
      this.#seenAt = undefined
      this.noteOldest(at)
    }
    return true
  }

  /** @returns undefined while it is not known. */
  sample(now: number): Pick<LagSample, 'records' | 'oldestAgeMs'> | undefined {
    if (this.#next === undefined || this.#end === undefined) return undefined
    const records = Math.max(0, this.#end - this.#next)
    const oldest = this.#since ?? this.#seenAt ?? now
    return { records, oldestAgeMs: records === 0 ? 0 : Math.max(0, now - oldest) }
  }
}

/**
 * The lags of a consumer's partitions. A partition's lag ends with its ownership: once the group gave it to another member,
 * or the consumer has stopped. A consumer that left the group because its work failed still tells the lag of its last
 * partitions, until it has others, or until another consumer stores: with the store out of reach no consumer owns any.
 */
export class Lag {
  readonly #partitions = new Map<string, { readonly of: LogPartition; readonly lag: PartitionLag }>()
  #membershipLost = false

  get isEmpty(): boolean {
    return this.#partitions.size === 0
  }

  /** The consumer owns the partition from now on, until {@link PartitionLag.owned} is unset. */
  own(of: LogPartition): PartitionLag {
    this.#membershipLost = false
    const lag = this.#partitions.get(keyOf(of))?.lag ?? new PartitionLag()
    lag.owned = true
    lag.pollsUnowned = 0
    this.#partitions.set(keyOf(of), { of, lag })
    return lag
  }

  /** Work has failed, and the consumer leaves the group. */
  loseMembership(): void {
    this.#membershipLost = true
  }

  /** The consumer has stopped. */
  clear(): void {
    this.#partitions.clear()
  }

  polled(positions: readonly LogPosition[], at: number): void {
    const found = new Map(positions.map((position) => [keyOf(position), position]))
    for (const [key, { lag }] of this.#partitions) {
      const position = found.get(key)
      const stays = position === undefined || lag.polled(position, at)
      const kept = lag.owned || this.#membershipLost || ++lag.pollsUnowned < POLLS_KEPT
      if (!stays || !kept) this.#partitions.delete(key)
    }
  }

  samples(now: number): LagSample[] {
    return [...this.#partitions.values()].flatMap(({ of: { topic, partition }, lag }) => {
      const sample = lag.owned || this.#membershipLost ? lag.sample(now) : undefined
      return sample === undefined ? [] : [{ topic, partition, ...sample }]
    })
  }
}

export interface LagPoll {
  readonly source: Source
  readonly clock: Clock
  readonly log: Logger
}

/**
 * Polls the log's ends, beside the work. After a failed poll the ends stay as they were.
 * @returns Ends the polls and all series: the consumer has stopped.
 */
export function followLog(lag: Lag, parts: LagPoll): () => void {
  const ending = new AbortController()
  void poll(lag, parts, ending.signal)
  return () => {
    ending.abort()
    lag.clear()
  }
}

async function poll(lag: Lag, { source, clock, log }: LagPoll, stop: AbortSignal): Promise<void> {
  for (; !stop.aborted; await clock.sleep(POLL_MS, stop)) {
    if (lag.isEmpty) continue
    const at = Date.now()
    try {
      const positions = await orTimeIsUp(source.positions(), POLL_TIMEOUT_MS, clock)
      if (positions !== TIME_IS_UP) lag.polled(positions, at)
      else log.warn('the log did not tell its ends in time: the lag is not up to date')
    } catch (error) {
      log.warn({ reason: String(error) }, 'the log did not tell its ends: the lag is not up to date')
    }
  }
}

function keyOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}/${partition}`
}
