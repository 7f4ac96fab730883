/**
 * Sends findings to targets: each once, as long as the store can be told. A worker that is killed after the target took an alert
 * and before the store knows sends it once more, and so do two workers at the same moment: with the same id, by which a
 * receiver knows it. A target that is away keeps nothing waiting but its own alerts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Analytics } from '@agent-audit/analytics'
import { TrailError } from '@agent-audit/schemas'
import type { Severity } from '../detector.ts'
import { findings, type StoredFinding } from '../findings/read-findings.ts'
import type { AlertTarget } from './alert.ts'

export interface AlertOptions {
  /** The least grave that is sent. @defaultValue `high` */
  readonly severity?: Severity | undefined
  /** Older findings are not sent: a new target gets no history. Milliseconds. @defaultValue a day */
  readonly sinceMs?: number | undefined
  /** Told why a target did not take an alert. */
  readonly onProblem?: ((target: string, reason: string) => void) | undefined
}

/** Of one round. */
export interface Delivered {
  readonly delivered: number
  /** Not taken in this round, or not tried since their target was away a moment ago. */
  readonly waiting: number
}

const DAY_MS = 86_400_000
const ROUND = 200
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

  /** @param analytics - As a user that may insert into audit_alerts. */
  constructor(analytics: Analytics, targets: readonly AlertTarget[], options: AlertOptions = {}) {
    this.#analytics = analytics
    this.#targets = targets
    this.#options = options
  }

  /** One round: every target gets what it has not got. @throws TrailError if the store is away. */
  async deliver(): Promise<Delivered> {
    const rounds = await Promise.allSettled(this.#targets.map((target) => this.#deliverTo(target)))
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
        onDelivered?.(await this.deliver())
      } catch (error) {
        if (!(error instanceof TrailError)) throw error
        this.#options.onProblem?.('store', error.message)
      }
      await sleep(everyMs, undefined, { signal }).catch(() => undefined)
    }
  }

  async #deliverTo(target: AlertTarget): Promise<Delivered> {
    const { severity = 'high', sinceMs = DAY_MS } = this.#options
    const since = new Date(Date.now() - sinceMs)
    const found = await findings(this.#analytics, { notSentTo: target.name, severity, since, limit: ROUND })
    const due = found.filter(({ state }) => state !== 'suppressed').toReversed()
    const state = this.#states.get(target.name)
    if (state !== undefined && Date.now() < state.retryAt) return { delivered: 0, waiting: due.length }
    let [delivered, refused, inARow] = [0, 0, 0]
    for (const finding of due) {
      if (inARow >= MOST_REFUSED) break
      if (await this.#send(target, finding)) {
        delivered++
        inARow = 0
      } else {
        refused++
        inARow++
      }
    }
    this.#noteRound(target, refused > 0)
    return { delivered, waiting: due.length - delivered }
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
