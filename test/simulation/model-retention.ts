/** A model of retention: it notes the rows of a class's month as expired, and then drops them. */
import type { Row } from './insert-rows.ts'
import type { TablePartition } from './model-store.ts'
import type { World } from './world.ts'

/** Longest time between the notes and the drop, milliseconds. */
const LONGEST_MS = 500

export class ModelRetention {
  /** Offsets with an expiry note, by log and partition. */
  readonly noted: Map<string, Set<number>> = new Map()
  /** `log/partition/offset` of each dropped row. */
  readonly dropped: Set<string> = new Set()
  /** `run_id:run_seq` of each dropped event. */
  readonly identities: Set<string> = new Set()
  readonly #world: World
  readonly #partitions: () => readonly TablePartition[]

  constructor(world: World, partitions: () => readonly TablePartition[]) {
    this.#world = world
    this.#partitions = partitions
  }

  /** Notes the rows of one class and month, and drops them later. It may die in between: then the notes stay, and the rows. */
  expire(): void {
    const { random } = this.#world
    const keys = [
      ...new Set(this.#partitions().flatMap(({ rows }) => [...rows.values()].map((row) => row.partitionKey))),
    ]
    if (keys.length > 0) this.#expire(random.pick(keys))
  }

  /** @param key - Log and partition. */
  note(key: string, offset: number): void {
    const offsets = this.noted.get(key) ?? new Set()
    this.noted.set(key, offsets.add(offset))
  }

  #expire(key: string): void {
    const { kernel, random } = this.#world
    const noted = this.#rowsOf(key)
    for (const [partition, row] of noted) this.note(partition.key, row.offset)
    this.#world.tell('expiry', () => `noted: ${key}, ${noted.length} rows`)
    if (random.chance(0.2)) return
    kernel.after(random.between(0, LONGEST_MS), () => {
      // The real command takes only months that no record can join any more. Here the months are seconds: it notes again.
      if (this.#rowsOf(key).length > noted.length) return this.#expire(key)
      for (const [partition, row] of noted) this.#drop(partition, row)
      this.#world.tell('expiry', () => `dropped: ${key}`)
    })
  }

  #rowsOf(key: string): [TablePartition, Row][] {
    return this.#partitions().flatMap((partition) =>
      [...partition.rows.values()]
        .filter((row) => row.partitionKey === key)
        .map((row): [TablePartition, Row] => [partition, row]),
    )
  }

  #drop({ key, rows, identities }: TablePartition, row: Row): void {
    if (!rows.delete(row.offset)) return
    this.dropped.add(`${key}/${row.offset}`)
    if (row.table === 'audit_skipped' || row.runId === undefined) return
    identities.delete(`${row.runId}:${row.runSeq}`)
    this.identities.add(`${row.runId}:${row.runSeq}`)
  }
}
