/**
 * A consumer's simulated process. Everything that it awaits passes through here, so that it can be paused (results are held
 * back until it resumes) or killed (no result ever comes: all its work stops at its current await).
 */
import { AuditUnavailableError } from '@agent-audit/schemas'
import type { Clock } from '@agent-audit/consumer/pipeline'
import type { CallFault } from './faults.ts'
import type { World } from './world.ts'

/** A server's answer to a call: once, immediately or later. */
export interface Reply<T> {
  ok(value: T): void
  fail(error: Error): void
}

export interface Call<T> {
  readonly to: 'broker' | 'store'
  readonly what: string
  /** Faults of this call. A lost call rejects as unavailable. */
  readonly faults: { readonly lost: CallFault; readonly answerLost: CallFault; readonly late?: CallFault }
  readonly serve: (reply: Reply<T>) => void
  /** Formats an answer for the history. @defaultValue as JSON */
  readonly show?: (value: T) => string
}

/** 2026-02-01: a little later the log enters another month. */
const WALL_START = Date.UTC(2026, 1, 1) - 15_000
/** How long a caller waits for an answer, milliseconds. */
const CALL_TIMEOUT_MS = 300

export class Process {
  readonly name: string
  readonly clock: Clock
  readonly #world: World
  #alive = true
  #held: (() => void)[] | undefined

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
    const { kernel, random, faults } = world
    // Clocks of machines differ in time and in speed: no deadline may depend on them.
    const rate = random.pick([1, 1, 0.7, 1.4])
    const start = random.between(0, 1e6)
    this.clock = {
      now: () => start + kernel.now * rate,
      wallMs: () => Math.floor(WALL_START + random.between(0, 30_000)),
      sleep: (ms, signal) => this.#sleep(ms / rate + (faults.strikes('clock: sleeps too long') ? 1500 : 0), signal),
    }
  }

  get alive(): boolean {
    return this.#alive
  }

  get paused(): boolean {
    return this.#held !== undefined
  }

  kill(): void {
    this.#alive = false
    this.#held = undefined
  }

  pause(): void {
    this.#held ??= []
  }

  resume(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const action of held) this.deliver(action)
  }

  /** Delivers a result to this process. */
  deliver(action: () => void): void {
    if (!this.#alive) return
    if (this.#held !== undefined) {
      this.#held.push(action)
      return
    }
    this.#world.kernel.wake()
    action()
  }

  /** Calls a server. A call of a dead process is never sent and never answered. */
  call<T>({ to, what, faults, serve, show = asJson }: Call<T>): Promise<T> {
    const { kernel, random, faults: plan } = this.#world
    return new Promise<T>((resolve, reject) => {
      if (!this.#alive) return
      const fail = (error: Error, why: string): void => {
        this.#world.tell(this.name, () => `${to} ${what}: ${why}`)
        this.deliver(() => reject(error))
      }
      const giveUp = (why: string): void => {
        const error = new AuditUnavailableError(to === 'store' ? 'STORE_UNAVAILABLE' : 'BROKER_UNAVAILABLE', why)
        kernel.after(random.between(1, CALL_TIMEOUT_MS), () => fail(error, why))
      }
      if (plan.strikes(faults.lost)) return giveUp('request lost')
      const late = faults.late !== undefined && plan.strikes(faults.late)
      if (late) giveUp('no answer, lands later')
      const unheard = late || plan.strikes(faults.answerLost)
      if (unheard && !late) giveUp('answer lost')
      const slow = plan.strikes(`${to}: slow`) ? 600 : 4
      const answer = (act: () => void): void => {
        if (!unheard) kernel.after(random.between(0.1, slow), act)
      }
      const reply: Reply<T> = {
        ok: (value) =>
          answer(() => {
            this.#world.tell(this.name, () => `${to} ${what} → ${show(value)}`)
            this.deliver(() => resolve(value))
          }),
        fail: (error) => answer(() => fail(error, error.message)),
      }
      kernel.after(late ? random.between(100, 4000) : random.between(0.1, slow), () => {
        if (late) this.#world.tell(this.name, () => `${to} ${what}: lands now`)
        serve(reply)
      })
    })
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise<void>((resolve) => {
      if (signal?.aborted === true) return resolve()
      const wake = (): void => {
        cancel()
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const cancel = this.#world.kernel.after(ms, () => this.deliver(wake))
      signal?.addEventListener('abort', wake, { once: true })
    })
  }
}

function asJson(value: unknown): string {
  if (value instanceof Map) return JSON.stringify([...value])
  return JSON.stringify(value) ?? 'done'
}
