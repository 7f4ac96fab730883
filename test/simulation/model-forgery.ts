/**
 * A model of a client that has stolen the writer's password and inserts rows of its own, and of the operator who quarantines
 * them once a partition has stopped for them.
 */
import type { StoredRow } from '@agent-audit/consumer/pipeline'
import type { World } from './world.ts'

/** A consumer may stop for rows that it read before they were quarantined, and may have been paused in between. */
const LATELY_MS = 10_000

interface Forged extends StoredRow {
  quarantined: boolean
}

export class ModelForgery {
  /** Forged rows by log and partition. */
  readonly #rows = new Map<string, Forged[]>()
  readonly #dropped = new Set<string>()
  readonly #repairedAt = new Map<string, number>()
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /**
   * Whether an insert may leave no row at these offsets. Not modelled: a client that knows the token of an insert and forges the
   * rows that it drops, in between the insert and the count. A count cannot tell, and the token is secret.
   */
  drop(rows: readonly { readonly key: string; readonly offset: number }[]): boolean {
    if (rows.some(({ key, offset }) => this.offsets(key).includes(offset))) return false
    for (const { key, offset } of rows) this.#dropped.add(`${key}/${offset}`)
    return true
  }

  /** The client cannot read the log: it knows no event_id, nor an append time. */
  forge(key: string, offset: number): void {
    if (this.#dropped.has(`${key}/${offset}`)) return
    const kind = this.#world.random.pick(['event', 'dead', 'duplicate'])
    const eventId = kind === 'event' ? '00000000-0000-7000-8000-000000000000' : null
    const identity = { runId: 'f'.repeat(32), runSeq: 0, eventId, retentionClass: 'default' }
    const row = { ...identity, offset, kind, reason: 'forged', logTimeMs: 0, quarantined: false }
    this.#rows.set(key, [...(this.#rows.get(key) ?? []), row])
    this.#world.tell('thief', () => `forged: ${kind} at offset ${offset} of ${key}`)
  }

  /** Offsets with a forged row, quarantined ones too. */
  offsets(key: string): number[] {
    return (this.#rows.get(key) ?? []).map(({ offset }) => offset)
  }

  quarantined(key: string): StoredRow[] {
    return (this.#rows.get(key) ?? []).filter(({ quarantined }) => quarantined)
  }

  /** Forged rows that are not quarantined. */
  counting(key: string): StoredRow[] {
    return (this.#rows.get(key) ?? []).filter(({ quarantined }) => !quarantined)
  }

  /** An operator looks at a partition that has stopped, and quarantines the forged rows. @returns whether anything was, lately. */
  repair(key: string): boolean {
    const { kernel } = this.#world
    const rows = (this.#rows.get(key) ?? []).filter(({ quarantined }) => !quarantined)
    for (const row of rows) row.quarantined = true
    if (rows.length > 0) this.#repairedAt.set(key, kernel.now)
    this.#world.tell('operator', () => `quarantines ${rows.length} rows of ${key}`)
    return kernel.now - (this.#repairedAt.get(key) ?? Number.NEGATIVE_INFINITY) < LATELY_MS
  }
}
