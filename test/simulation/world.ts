/** Shared by all parts of a simulation: time, chance, faults, the history, and the first violation. */
import { Faults } from './faults.ts'
import { Kernel } from './kernel.ts'
import { Random } from './random.ts'

/** Milliseconds; the lease is D, the margin M of the protocol. */
export interface Timing {
  readonly leaseMs: number
  readonly marginMs: number
  readonly insertTimeoutMs: number
  readonly sessionTimeoutMs: number
}

export class World {
  readonly kernel: Kernel = new Kernel()
  readonly random: Random
  readonly faults: Faults
  readonly timing: Timing
  /** One line an action; undefined: no history is kept. */
  readonly history: string[] | undefined
  violation: string | undefined
  /** Every n-th record of a run passes the check, and the store refuses it for its data; 0: none. */
  readonly refusedEvery: number
  /** Whether the log deletes what is committed, as the embedded one does. */
  readonly trims: boolean

  constructor(seed: number, keepHistory: boolean) {
    this.random = new Random(seed)
    this.trims = seed % 4 === 0
    this.faults = new Faults(this.random)
    this.history = keepHistory ? [] : undefined
    this.refusedEvery = this.random.pick([0, 0, 3, 8])
    const sessionTimeoutMs = this.random.pick([1000, 1500, 4000])
    const marginMs = this.random.pick([20, 200])
    this.timing = { leaseMs: 1000, marginMs, insertTimeoutMs: 400, sessionTimeoutMs }
  }

  refuses = (runSeq: number): boolean => {
    return this.refusedEvery > 0 && runSeq % this.refusedEvery === this.refusedEvery - 1
  }

  /** Notes an action. The text is made only if a history is kept. */
  tell(actor: string, describe: () => string): void {
    this.history?.push(`${this.kernel.now.toFixed(1).padStart(9)}  ${actor.padEnd(7)} ${describe()}`)
  }

  /** Notes a violation, and ends the run. */
  fail(violation: string): void {
    if (this.violation !== undefined) return
    this.violation = violation
    this.tell('ORACLE', () => violation)
    this.kernel.wake()
  }
}
