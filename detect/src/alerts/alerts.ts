/**
 * Sends findings to targets: each once, as long as the store can be told. A worker that is killed after the target took an alert
 * and before the store knows sends it once more, and so do two workers at the same moment: with the same id, by which a
 * receiver knows it. A target that is away keeps nothing waiting but its own alerts, and gets them all, the oldest first, once it
 * is back.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Analytics } from '@agent-audit/analytics'
import { TrailError } from '@agent-audit/schemas'
import type { Severity } from '../detector.ts'
import {
  countFindings,
  findings,
  FIRST_PLACE,
  type FindingsOptions,
  type StoredFinding,
} from '../findings/read-findings.ts'
import type { AlertTarget } from './alert.ts'

export interface AlertOptions {
  /** The least grave that is sent. @defaultValue `high` */
  readonly severity?: Severity | undefined
  /**
   * A new target gets the findings of the time before the start, and no older ones; a target that has taken some gets all that
   * it has not, from so long before the latest of them on, however long it was away. Milliseconds. @defaultValue a day
   */
  readonly sinceMs?: number | undefined
  /** Told why a target did not take an alert. */
  readonly onProblem?: ((target: string, reason: string) => void) | undefined
}

/** Of one round. */
export interface Delivered {
  readonly delivered: number
  /** Not taken in this round, or not tried since their target is away. */
  readonly waiting: number
}

const DAY_MS = 86_400_000
/** Findings in memory. */
const PAGE = 200
/** A target that refuses so many in a row is away. Fewer: it does not like those alerts, and gets the others. */
const MOST_REFUSED = 3
const BACK_OFF_MS = { first: 1000, longest: 300_000 }

export class Alerts implements AsyncDisposable {
  readonly #analytics: Analytics
  readonly #targets: readonly AlertTarget[]
  readonly #options: AlertOptions
  readonly #states = new Map<string, { retryAt: number; pauseMs: number }>()
  /** Taken by a target, and the store does not know yet, by target and finding; attempts. */
  readonly #taken = new Map<string, number>()
  readonly #attempts = new Map<string, number>()
  readonly #startedAt = Date.now()
  /** By target, milliseconds since 1970: earlier findings are not sent to it. */
  readonly #since = new Map<string, number>()

  /** @param analytics - As a user that may insert into audit_alerts. */
  constructor(analytics: Analytics, targets: readonly AlertTarget[], options: AlertOptions = {}) {
    this.#analytics = analytics
    this.#targets = targets
    this.#options = options
  }

  /**
   * One round: every target gets what it has not got.
   * @param signal - Ends the round between two alerts.
   * @throws TrailError if the store is away.
   */
  async deliver(signal?: AbortSignal): Promise<Delivered> {
    const rounds = await Promise.allSettled(this.#targets.map((target) => this.#deliverTo(target, signal)))
    const failed = rounds.find((round) => round.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    return rounds
      .flatMap((round) => (round.status === 'fulfilled' ? [round.value] : []))
      .reduce(
        (sum, { delivered, waiting }) => ({
          delivered: sum.delivered + delivered,
          waiting: sum.waiting + waiting,
        }),
        { delivered: 0, waiting: 0 },
      )
  }

  /** Rounds until `signal` is aborted. Errors of the store are reported, and the next round tries again. */
  async deliverUntil(signal: AbortSignal, { everyMs = 2000, onDelivered }: DeliverUntil = {}): Promise<void> {
    while (!signal.aborted) {
      try {
        onDelivered?.(await this.deliver(signal))
      } catch (error) {
        if (!(error instanceof TrailError)) throw error
        this.#options.onProblem?.('store', error.message)
      }
      await sleep(everyMs, undefined, { signal }).catch(() => undefined)
    }
  }

  async #deliverTo(target: AlertTarget, signal: AbortSignal | undefined): Promise<Delivered> {
    const { severity = 'high' } = this.#options
    const since = new Date(await this.#sinceOf(target))
    const due = { notSentTo: target.name, severity, since, notState: 'suppressed' } as const
    const state = this.#states.get(target.name)
    const isAway = state !== undefined && Date.now() < state.retryAt
    const { delivered, refused, isComplete } = isAway
      ? { delivered: 0, refused: 0, isComplete: false }
      : await this.#sendAll(target, due, signal)
    if (!isAway) this.#noteRound(target, refused > 0)
    return { delivered, waiting: isComplete ? refused : await countFindings(this.#analytics, due) }
  }

  /** Page by page, the oldest first. Not complete: the target is away, or the round was ended. */
  async #sendAll(
    target: AlertTarget,
    due: FindingsOptions,
    signal: AbortSignal | undefined,
  ): Promise<{ delivered: number; refused: number; isComplete: boolean }> {
    let [delivered, refused, inARow, after] = [0, 0, 0, FIRST_PLACE]
    for (;;) {
      const page = await findings(this.#analytics, { ...due, after, limit: PAGE })
      for (const finding of page) {
        const isTaken = await this.#send(target, finding)
        delivered += isTaken ? 1 : 0
        refused += isTaken ? 0 : 1
        inARow = isTaken ? 0 : inARow + 1
        if (inARow >= MOST_REFUSED || signal?.aborted === true) return { delivered, refused, isComplete: false }
        after = finding
      }
      if (page.length < PAGE) return { delivered, refused, isComplete: true }
    }
  }

  /** Stays while the process runs: what a target refuses is tried again for as long. */
  async #sinceOf({ name }: AlertTarget): Promise<number> {
    const known = this.#since.get(name)
    if (known !== undefined) return known
    const [row] = await this.#analytics.rows<{ latest: number | string }>(
      `SELECT toUnixTimestamp64Milli(max(found_at)) AS latest FROM {database:Identifier}.audit_findings
       WHERE finding_id IN (SELECT finding_id FROM {database:Identifier}.audit_alerts WHERE target = {name:String})`,
      { name },
    )
    const latest = Number(row?.latest) || this.#startedAt
    const since = Math.min(latest, this.#startedAt) - (this.#options.sinceMs ?? DAY_MS)
    this.#since.set(name, since)
    return since
  }

  async #send(target: AlertTarget, finding: StoredFinding): Promise<boolean> {
    const key = `${target.name}\0${finding.finding_id}`
    if (!this.#taken.has(key)) {
      const attempts = (this.#attempts.get(key) ?? 0) + 1
      this.#attempts.set(key, attempts)
      try {
        await target.send(finding)
      } catch (error) {
        this.#options.onProblem?.(target.name, reasonOf(error))
        return false
      }
      this.#taken.set(key, attempts)
      this.#attempts.delete(key)
    }
    await this.#analytics.command(
      `INSERT INTO {database:Identifier}.audit_alerts (finding_id, target, attempts)
       SELECT {id:UUID}, {target:String}, {attempts:UInt32}`,
      { id: finding.finding_id, target: target.name, attempts: this.#taken.get(key) },
    )
    this.#taken.delete(key)
    return true
  }

  #noteRound({ name }: AlertTarget, isRefused: boolean): void {
    if (!isRefused) return void this.#states.delete(name)
    const pauseMs = this.#states.get(name)?.pauseMs ?? BACK_OFF_MS.first
    this.#states.set(name, {
      retryAt: Date.now() + pauseMs,
      pauseMs: Math.min(2 * pauseMs, BACK_OFF_MS.longest),
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#targets.map((target) => target[Symbol.asyncDispose]()))
  }
}

export interface DeliverUntil {
  readonly everyMs?: number | undefined
  readonly onDelivered?: ((round: Delivered) => void) | undefined
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  const { cause } = error as { cause?: { code?: string } }
  return cause?.code === undefined ? error.message : `${error.message} (${cause.code})`
}
