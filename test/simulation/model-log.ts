/** A model of one partition's log, and of the group's committed offset for it. */
import { IntegrityError } from '@agent-audit/schemas'
import type { Committed, LogRecord, LogSlice } from '@agent-audit/consumer/pipeline'
import type { Reply } from './process.ts'
import type { World } from './world.ts'

export class ModelPartition {
  readonly partition: number
  /** Records by offset, from the first one ever; undefined at a hole of the log. */
  readonly records: (LogRecord | undefined)[] = []
  /** First offset that the log holds. */
  start = 0
  /** Below it retention has dropped records, whatever is committed. */
  lostBelow = 0
  committed: Committed | undefined
  readonly #world: World
  #waiting: (() => void)[] = []

  constructor(world: World, partition: number) {
    this.#world = world
    this.partition = partition
  }

  get end(): number {
    return this.records.length
  }

  /** Retention drops the records below an offset. */
  lose(below: number): void {
    this.lostBelow = Math.max(this.lostBelow, below)
    this.start = Math.max(this.start, below)
  }

  append(record: Omit<LogRecord, 'offset'> | undefined): void {
    this.records.push(record === undefined ? undefined : { ...record, offset: this.end })
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  /** Resolves with some records from an offset on, as soon as there are any. */
  fetch(from: number, reply: Reply<LogSlice>): void {
    if (from < this.start || from > this.end) {
      const held = `partition ${this.partition} holds offsets ${this.start} to ${this.end - 1}, not ${from}`
      reply.fail(new IntegrityError('LOG_TRUNCATED', held))
      return
    }
    if (from === this.end) {
      this.#waiting.push(() => this.fetch(from, reply))
      return
    }
    const nextOffset = Math.min(this.end, from + 1 + this.#world.random.below(5))
    const records = this.records.slice(from, nextOffset).filter((record) => record !== undefined)
    reply.ok({ firstOffset: from, records, nextOffset, logEnd: this.end })
  }
}
