/**
 * The notary: keeps the log of all seals of one topic, and signs its root.
 *
 *   <topic>.seals → leaves (equal ones left out) → audit_seals → tree → checkpoint → audit_checkpoints → sinks
 *
 * The order of the tree is that of the topic's one partition, and what is a leaf follows from the messages alone. So two notaries
 * sign the same tree, whichever of them has the partition, and each can go on where the other one ended.
 *
 * A leaf is stored before it is signed, a checkpoint before it leaves the process: after a crash the tables have at least what any
 * sink has. At its start it computes the tree from the notes again, and compares it with the newest checkpoint of each sink.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Assignment } from '@agent-audit/kafka'
import { IntegrityError, TrailError } from '@agent-audit/schemas'
import { LogKeeper } from './log-keeper.ts'
import type { NotaryOptions } from './notary-options.ts'
import { changed, SealTables } from './seal-tables.ts'

/** Pauses after a failure, milliseconds. */
const PAUSE_MS = { first: 250, longest: 10_000 }
const STANDBY_MS = 20_000
const STANDBY_POLL_MS = 500

export class Notary {
  readonly #options: NotaryOptions

  constructor(options: NotaryOptions) {
    this.#options = options
  }

  /**
   * Runs until `stop` is aborted. Tries again, after a pause, what may pass.
   * @throws IntegrityError `SEAL_LOG_CHANGED` for a log that contradicts a checkpoint of a sink, `NOTARY_RUNNING` if another notary
   * has the log.
   */
  async run(stop: AbortSignal): Promise<void> {
    for (let pauseMs = PAUSE_MS.first; !stop.aborted;) {
      const began = performance.now()
      try {
        await this.#join(stop)
        return
      } catch (error) {
        if (!(error instanceof TrailError && error.retryable)) throw error
        this.#options.observer.problem(error)
        if (performance.now() - began > PAUSE_MS.longest) pauseMs = PAUSE_MS.first
        await sleep(pauseMs, undefined, { signal: stop }).catch(() => undefined)
        pauseMs = Math.min(2 * pauseMs, PAUSE_MS.longest)
      }
    }
  }

  /** One membership of the group. */
  async #join(stop: AbortSignal): Promise<void> {
    const { source, standbyMs = STANDBY_MS } = this.#options
    await this.#expectNoOther(stop)
    const over = new AbortController()
    const drain = AbortSignal.any([stop, over.signal])
    let failure: unknown
    const fail = (error: unknown): void => {
      failure ??= error
      over.abort()
    }
    let timer: NodeJS.Timeout | undefined
    const standBy = (): void => void (timer = setTimeout(() => fail(this.#running()), standbyMs))
    standBy()
    try {
      await source.run(async (assignment) => {
        clearTimeout(timer)
        await this.#keepLog(assignment, drain).catch(fail)
        if (!drain.aborted) standBy()
      }, drain)
    } catch (error) {
      failure ??= error
    } finally {
      clearTimeout(timer)
    }
    if (failure !== undefined) throw failure
  }

  /** Looks before it joins: a join would take the partition from the notary that runs. A dead one is forgotten in this time. */
  async #expectNoOther(stop: AbortSignal): Promise<void> {
    const { source, standbyMs = STANDBY_MS } = this.#options
    const since = performance.now()
    for (;;) {
      const members = (await source.members?.()) ?? []
      if (members.length === 0 || stop.aborted) return
      if (performance.now() - since > standbyMs) throw this.#running(members)
      await sleep(STANDBY_POLL_MS, undefined, { signal: stop }).catch(() => undefined)
    }
  }

  #running(members: readonly string[] = []): IntegrityError {
    const other = members.length === 0 ? 'another member' : members.join(', ')
    const message = `another notary has this log: ${other} of the group ${this.#options.groupId}. Stop it first`
    return new IntegrityError('NOTARY_RUNNING', message)
  }

  async #keepLog(assignment: Assignment, drain: AbortSignal): Promise<void> {
    if (assignment.partition !== 0) {
      throw changed(`${assignment.topic} has more than one partition: expected one, whose order is that of the log`)
    }
    const tables = new SealTables(this.#options.analytics, assignment)
    const keeper = new LogKeeper(assignment, tables, this.#options)
    await keeper.run(drain)
  }
}
