/**
 * Deletes from the embedded log the records that are stored. A commit of the group says that every offset below it has a row
 * (docs/exactly-once.md), and there is one group a log.
 *
 * The last stored record stays: the next owner compares it with its row, and so finds out that the log was replaced. It also
 * keeps the log's start below the committed offset. If the tables are lost, the next owner misses the row of that record and
 * stops (`LOG_REPLACED`); a log that starts at the committed offset would look like one that never held earlier records.
 *
 * With a signing key, records whose seal the topic of seals is not known to have stay too: the next owner makes that seal from
 * them. So the log grows while no seal can be signed.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { TrailError } from '@agent-audit/schemas'
import type { EmbeddedLog } from '@agent-audit/spool'

export class LogTrim {
  readonly #log: EmbeddedLog
  /** The first offset to keep, of each partition that is not trimmed up to it. */
  readonly #due = new Map<string, { readonly topic: string; readonly partition: number; readonly keep: number }>()
  #working: Promise<void> | undefined
  #closing = false

  constructor(log: EmbeddedLog) {
    this.#log = log
  }

  /** The group has committed this offset: trims soon, in steps between other work. Keeps what is from `keepFrom` on. */
  committed(topic: string, partition: number, { offset, keepFrom }: { offset: number; keepFrom: number }): void {
    const keep = Math.min(offset - 1, keepFrom)
    if (keep > 0) this.#due.set(`${topic}/${partition}`, { topic, partition, keep })
    this.#working ??= this.#work()
  }

  /** Resolves when what is committed is deleted. Gives no space back any more. */
  async finish(): Promise<void> {
    this.#closing = true
    await this.#working
  }

  async #work(): Promise<void> {
    try {
      do await nextTurn()
      while (!this.#step())
    } catch (error) {
      // The next commit tries again. Trouble with the log shows at reads and heartbeats too, which end the membership.
      if (!(error instanceof TrailError)) throw error
    } finally {
      this.#working = undefined
    }
  }

  /** @returns true when nothing is left to do. */
  #step(): boolean {
    const [first] = this.#due
    if (first === undefined) return this.#closing || this.#log.giveSpaceBack()
    const [key, { topic, partition, keep }] = first
    if (this.#log.deleteBefore(topic, partition, keep) && this.#due.get(key)?.keep === keep) this.#due.delete(key)
    return false
  }
}
