/** A fault. Each kind reports when it struck and the partitions that it stopped; these then have to flow again. */
import type { Fleet } from './fleet.ts'
import type { Load } from './profiles.ts'
import type { Servers } from './servers.ts'
import type { Trail } from './trail.ts'

/** Timing of the consumers under test, milliseconds. */
export interface Timing {
  readonly sessionMs: number
  readonly leaseMs: number
  readonly marginMs: number
}

/** All parts that faults can break. */
export interface Scene {
  readonly servers: Servers
  readonly trail: Trail
  readonly fleet: Fleet
  readonly timing: Timing
  readonly load: Load
  /** Seeded, from 0 to 1. */
  readonly random: () => number
}

export interface Injected {
  /** When it struck; for a fault that lasts, when its cause ended. Milliseconds since 1970. */
  readonly at: number
  readonly partitions: readonly number[]
  /** Why the requested fault did not happen. */
  readonly missed?: string
}

export interface Fault {
  readonly kind: string
  /** The part that it breaks: two faults at once have different targets, or one would undo the other. */
  readonly target: 'consumer' | 'producer' | 'group' | 'store' | 'link to the store' | 'brokers' | 'link to the brokers'
  /** Resolves when the fault has struck and its cause has ended: killed processes run again. */
  inject(scene: Scene): Promise<Injected>
  /** Why this fault is not available on this machine. */
  unavailable?(servers: Servers): string | undefined
}

export function between(random: () => number, low: number, high: number): number {
  return low + random() * (high - low)
}

export function pick<T>(random: () => number, list: readonly T[]): T {
  const item = list[Math.floor(random() * list.length)]
  if (item === undefined) throw new Error('nothing to pick from')
  return item
}
