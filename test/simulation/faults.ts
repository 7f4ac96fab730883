/** Which faults strike, and how often. Each seed draws them anew, so that each run has another mixture of few or many. */
import type { Random } from './random.ts'

/** Faults of single calls: the chance is per call. */
export const CALL_FAULTS = [
  'broker: request lost',
  'broker: answer lost',
  'broker: slow',
  'commit: request lost',
  'commit: answer lost',
  'commit: lands late',
  'seal: answer lost',
  'seal: lands late',
  'store: request lost',
  'store: answer lost',
  'store: slow',
  'clock: sleeps too long',
  'insert: request lost',
  'insert: stalls on its way',
  'insert: connection cut, arrives all the same',
  'insert: stalls while listed',
  'insert: lands late',
  'insert: answer dropped after landing',
  'insert: unclear answer, nothing landed',
  'insert: refused, too many parts',
  'insert: acknowledged, its token was used before',
  'insert: sent twice by a proxy',
  'insert: refused, and a proxy keeps a copy',
] as const

/** Faults of whole parts, at random times. */
export const EVENT_FAULTS = [
  'consumer: killed',
  'consumer: paused',
  'consumer: drained',
  'group: rebalanced',
  'group: offsets lost',
  'group: offset set back',
  'log: retention',
  'retention: class dropped',
  'log: partition added',
  'store: killed',
  'store: power lost',
  'store: clock stepped back',
  'store: row forged',
  'seals: topic away',
] as const

/** Conditions of a whole run, and how inserts of several partitions end: counted where they occur. */
export const LASTING_FAULTS = [
  'insert: refused for its data',
  'shared insert: stored',
  'shared insert: unclear',
  'shared insert: refused',
  'shared insert: bad-data',
] as const

export type CallFault = (typeof CALL_FAULTS)[number]
export type EventFault = (typeof EVENT_FAULTS)[number]
export type Fault = CallFault | EventFault | (typeof LASTING_FAULTS)[number]

/** An unanswered call ends a membership, an unclear insert one partition's work: they are rare, so that work gets time. */
const RATES = { call: [0, 0, 0.002, 0.01, 0.04], insert: [0, 0, 0.03, 0.15, 0.4] }

export class Faults {
  readonly counts: Map<Fault, number> = new Map()
  readonly #random: Random
  readonly #rates: ReadonlyMap<CallFault, number>
  readonly #events: readonly EventFault[]
  #active = true

  constructor(random: Random) {
    this.#random = random
    this.#rates = new Map(
      CALL_FAULTS.map((fault) => [fault, random.pick(fault.startsWith('insert') ? RATES.insert : RATES.call)]),
    )
    const share = random.pick([0.15, 0.4, 0.8])
    this.#events = EVENT_FAULTS.filter(() => random.chance(share))
  }

  get active(): boolean {
    return this.#active
  }

  /** Whether this fault strikes now. Counts it if so. */
  strikes(fault: CallFault): boolean {
    const rate = this.#rates.get(fault) ?? 0
    if (!this.#active || rate === 0 || !this.#random.chance(rate)) return false
    this.count(fault)
    return true
  }

  /** The next fault of a whole part; undefined if this seed has none. */
  drawEvent(): EventFault | undefined {
    return this.#events.length === 0 ? undefined : this.#random.pick(this.#events)
  }

  count(fault: Fault): void {
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1)
  }

  /** Ends all faults. */
  stop(): void {
    this.#active = false
  }
}
