/**
 * Stage: the lease that every insert needs. A lease is F, a reading of ClickHouse's clock, in the metadata of a commit that
 * Kafka acknowledged for this epoch. The server refuses every insert under it once F + D has passed. So an owner that the
 * group has replaced gets no lease, and the server refuses the inserts that it sent before.
 *
 * The metadata is "busy F" while inserts may be under way, and "clean" when none is: then the next owner need not wait.
 *
 * With a signing key the metadata also says how far the partition is sealed (./sealing/partition-sealer.ts).
 *
 * Below a committed offset the tables are not searched again. So the rows of acknowledged inserts are counted before a commit
 * moves it: an insert whose deduplication token ClickHouse knows already is acknowledged and leaves no row.
 */
import type { Assignment } from '@agent-audit/kafka'
import { AuditUnavailableError } from '@agent-audit/schemas'
import type { PartitionSealer } from './sealing/partition-sealer.ts'
import type { Clock } from './clock.ts'
import { CLEAN } from './commit-metadata.ts'
import type { PartitionObserver } from './observer.ts'
import type { OffsetRange, Sink } from './sink.ts'

/** The times that an insert is sent with, milliseconds of the server's clock. */
export interface Lease {
  readonly fencedAt: number
  readonly deadline: number
}

/** Offsets below a commit have no row, though ClickHouse acknowledged their inserts. The commit was not sent. */
export class RowsMissing extends Error {
  readonly range: OffsetRange
  /** Offsets of the range with a row. */
  readonly found: number

  constructor(range: OffsetRange, found: number) {
    super(`${range.last - range.first + 1 - found} of the offsets ${range.first} to ${range.last} have no row`)
    this.range = range
    this.found = found
  }
}

export interface FenceOptions {
  /** D: how long an insert may live after F, milliseconds. */
  readonly leaseMs: number
  /** How long a lease is used before it is renewed, milliseconds; the committed offset moves with each renewal. */
  readonly renewMs: number
}

export interface FenceParts {
  readonly sink: Sink
  readonly clock: Clock
  readonly observer: PartitionObserver
  /** Undefined: without a signing key. */
  readonly sealer: Pick<PartitionSealer, 'describe' | 'committed'> | undefined
}

/** After this share of its time a lease is renewed early. */
const EARLY_SHARE = 0.75

/** The lease of one assignment. */
export class Fence {
  readonly #assignment: Assignment
  readonly #sink: Sink
  readonly #clock: Clock
  readonly #observer: PartitionObserver
  readonly #sealer: FenceParts['sealer']
  readonly #options: FenceOptions
  #lease: Lease | undefined
  #renewAt = 0
  #renewEarlyAt = 0
  #clean = false
  /** Every offset below it was seen to be accounted for. */
  #countedTo = 0
  /** Offsets above it that have a row, which does not account for them. */
  #quarantined: readonly number[] = []

  constructor(assignment: Assignment, { sink, clock, observer, sealer }: FenceParts, options: FenceOptions) {
    this.#assignment = assignment
    this.#sink = sink
    this.#clock = clock
    this.#observer = observer
    this.#sealer = sealer
    this.#options = options
  }

  /**
   * Call it after a recovery.
   * @param next - First offset that is not accounted for.
   * @param quarantined - Offsets from there on whose every row is quarantined.
   */
  recovered(next: number, quarantined: readonly number[]): void {
    this.#countedTo = next
    this.#quarantined = quarantined
  }

  get held(): boolean {
    return this.#lease !== undefined
  }

  /** Whether the newest commit of this epoch is an acknowledged "clean". */
  get clean(): boolean {
    return this.#clean
  }

  /** When the lease should be renewed or given up, by {@link Clock.now}; Infinity without one. */
  get renewAt(): number {
    return this.#lease === undefined ? Number.POSITIVE_INFINITY : this.#renewAt
  }

  /**
   * Returns a lease to insert under, taking or renewing it with a commit of `next` where needed.
   * @param forMs - How long it is held before it is used, milliseconds: one that is due until then is renewed now.
   * @throws AuditUnavailableError `LOG_UNAVAILABLE` if the group refuses it, or does not answer: then leave and rejoin;
   * {@link RowsMissing}: then recover.
   */
  async hold(next: number, forMs = 0): Promise<Lease> {
    const isDue = this.#clock.now() + forMs >= this.#renewAt
    if (this.#lease !== undefined && !isDue && !this.#assignment.ended.aborted) return this.#lease
    await this.#expectRows(next)
    // Read the local clock first: the latency of the server's answer then only shortens the lease.
    const asked = this.#clock.now()
    const fencedAt = await this.#sink.now()
    // The old lease ends here: the commit may land, answered or not, and then its F is no longer the one in the metadata.
    this.#lease = undefined
    await this.#commit(next, `busy ${fencedAt}`)
    this.#lease = { fencedAt, deadline: fencedAt + this.#options.leaseMs }
    this.#renewAt = asked + this.#options.renewMs
    this.#renewEarlyAt = asked + this.#options.renewMs * EARLY_SHARE
    return this.#lease
  }

  /** Renews a lease that the next batch would have to wait for, if one is held. With no insert in flight. @throws as {@link hold} */
  async renewEarly(next: number): Promise<void> {
    const { ended, draining } = this.#assignment
    if (!this.held || ended.aborted || draining.aborted || this.#clock.now() < this.#renewEarlyAt) return
    this.#renewAt = this.#clock.now()
    await this.hold(next)
  }

  /**
   * Marks the partition clean at `next`. The lease ends when the commit is sent, answered or not. The caller MUST have no
   * insert in flight, and no row above `next`.
   * @throws as {@link hold}.
   */
  async release(next: number): Promise<void> {
    await this.#expectRows(next)
    this.#lease = undefined
    await this.#commit(next, CLEAN)
    this.#clean = true
  }

  async #expectRows(next: number): Promise<void> {
    const range = { first: this.#countedTo, last: next - 1 }
    if (range.first > range.last) return
    const found = (await this.#sink.countOffsets(this.#assignment, range)) - (await this.#countQuarantined(range))
    if (found !== next - range.first) throw new RowsMissing(range, found)
    this.#countedTo = next
  }

  async #countQuarantined({ first, last }: OffsetRange): Promise<number> {
    const within = (offset: number): boolean => offset >= first && offset <= last
    if (!this.#quarantined.some(within)) return 0
    return (await this.#sink.quarantined(this.#assignment)).filter(within).length
  }

  async #commit(next: number, state: string): Promise<void> {
    const { topic, partition } = this.#assignment
    this.#clean = false
    const { metadata = '', keepFrom } = this.#sealer?.describe() ?? {}
    const answer = await this.#assignment.commit(next, `${state}${metadata}`, keepFrom)
    this.#observer.committed(answer)
    if (answer === 'acknowledged') return this.#sealer?.committed(next)
    const why = answer === 'refused' ? 'refused by the group' : 'not answered'
    throw new AuditUnavailableError('LOG_UNAVAILABLE', `commit of ${topic}/${partition} ${why}: rejoining`)
  }
}
