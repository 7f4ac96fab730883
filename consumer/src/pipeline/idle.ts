/**
 * Stage: a partition without work is left clean, so that it needs no commits to renew a lease, and its next owner need not wait.
 * Once the seal of what was left is in its topic, the same commit says so: then the next owner need not make it again.
 */
import type { Assignment } from '@agent-audit/kafka'
import type { PartitionSealer } from './sealing/partition-sealer.ts'
import { type Clock, orTimeIsUp, TIME_IS_UP } from './clock.ts'
import type { Fence } from './fence.ts'
import type { Resume } from './recover.ts'

export interface IdleParts {
  readonly fence: Fence
  readonly clock: Clock
  readonly sealer: PartitionSealer | undefined
}

/** How long a consumer that leaves waits for the last seals, milliseconds. Without them the next owner makes them again. */
const LEAVE_MS = 1000

export class Idle {
  readonly #assignment: Assignment
  readonly #parts: IdleParts
  #compared = Promise.withResolvers<void>()

  constructor(assignment: Assignment, parts: IdleParts) {
    this.#assignment = assignment
    this.#parts = parts
  }

  /** The partition is recovered anew: rows from `readFrom` on are not compared with the log. */
  recovered(at: Resume): void {
    this.#compared = Promise.withResolvers()
    this.compared(at)
  }

  /** Rows below `readFrom` are compared. */
  compared({ next, readFrom }: Resume): void {
    if (readFrom === next) this.#compared.resolve()
  }

  /**
   * Marks the partition clean, unless a row lies above the first gap. Call it with no insert in flight. Below a clean commit no owner
   * compares rows with the log, so it waits until that is done.
   */
  async leaveClean({ next, above, readFrom }: Resume): Promise<void> {
    const { fence } = this.#parts
    if (!fence.held || this.#assignment.ended.aborted || next <= (above.at(-1)?.last ?? -1) || readFrom < next) return
    await fence.release(next)
  }

  /** While no batch comes, give the lease up: an idle partition is clean. */
  async nextOrIdle<T>(following: Promise<T>, at: () => Resume): Promise<T> {
    const { fence, clock } = this.#parts
    if (fence.held) {
      const next = await orTimeIsUp(following, fence.renewAt - clock.now(), clock)
      if (next !== TIME_IS_UP) return next
      await Promise.race([following, this.#compared.promise])
      await this.leaveClean(at())
    }
    await this.#settle(following, at())
    return following
  }

  /** The work has ended: leaves the partition, sealed where the topic of the seals takes them in time. */
  async leave(at: Resume): Promise<void> {
    await this.leaveClean(at)
    await this.#settle(this.#parts.clock.sleep(LEAVE_MS, this.#assignment.ended), at)
  }

  // The same commit again, in the same epoch: no insert is in flight, and no row above.
  async #settle(until: Promise<unknown>, { next }: Resume): Promise<void> {
    const { fence, sealer } = this.#parts
    const over = until.then(
      () => true,
      () => true,
    )
    if (sealer === undefined) return
    while (sealer.unsettled && fence.clean) {
      const isOver = await Promise.race([over, sealer.moved.then(() => false)])
      if (isOver || this.#assignment.ended.aborted) return
      await fence.release(next)
    }
  }
}
