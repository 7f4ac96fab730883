/**
 * Stage: finds the records a producer sent again. A record is known by (run_id, run_seq); they rise within a partition
 * for each run, so only a record not above the highest seen can be a duplicate, and only those are looked up, exactly: a
 * replayed or reordered record that is not in the table must not be lost.
 */
import type { Batch } from './batch.ts'
import type { RecordIdentity, Sink } from './sink.ts'
import type { LogPlace } from './source.ts'

/** Runs whose highest run_seq is kept per partition; beyond it the table is asked again. */
const MAX_RUNS = 10_000

export class DuplicateFilter {
  readonly #place: LogPlace
  readonly #sink: Sink
  /** Highest run_seq in the table, by run id in hex; -1 for a run without a row. Oldest entry first. */
  readonly #highest = new Map<string, number>()

  constructor(place: LogPlace, sink: Sink) {
    this.#place = place
    this.#sink = sink
  }

  /**
   * Positions in the batch of records that are earlier in it, or in audit_events. At most one query for runs not met
   * before and one for the records in question.
   */
  async find(batch: Batch): Promise<Set<number>> {
    await this.#learnRuns([...batch.runs.keys()].filter((run) => !this.#highest.has(run)))
    const duplicates = repeatsWithin(batch)
    const suspects = batch.events.filter((event) => event.runSeq <= this.#highestOf(event.run.hex))
    if (suspects.length === 0) return duplicates
    const asked = suspects.map((event) => ({ runId: event.run.hex, runSeq: event.runSeq }))
    const stored = new Set((await this.#sink.stored(this.#place, asked)).map(keyOf))
    for (const [position, event] of batch.events.entries()) {
      if (stored.has(keyOf({ runId: event.run.hex, runSeq: event.runSeq }))) duplicates.add(position)
    }
    return duplicates
  }

  /** To be called once the batch is in the table. */
  noteStored(batch: Batch): void {
    for (const run of batch.runs.values()) {
      const highest = Math.max(this.#highestOf(run.hex), run.highestSeq)
      this.#highest.delete(run.hex)
      this.#highest.set(run.hex, highest)
    }
    for (const run of this.#highest.keys()) {
      if (this.#highest.size <= MAX_RUNS) return
      this.#highest.delete(run)
    }
  }

  async #learnRuns(runs: readonly string[]): Promise<void> {
    if (runs.length === 0) return
    const found = await this.#sink.highestSeqs(this.#place, runs)
    for (const run of runs) this.#highest.set(run, found.get(run) ?? -1)
  }

  #highestOf(run: string): number {
    return this.#highest.get(run) ?? -1
  }
}

function repeatsWithin(batch: Batch): Set<number> {
  const repeats = new Set<number>()
  if (batch.unordered.length === 0) return repeats
  const seen = new Set<string>()
  for (const [position, event] of batch.events.entries()) {
    const key = keyOf({ runId: event.run.hex, runSeq: event.runSeq })
    if (seen.has(key)) repeats.add(position)
    seen.add(key)
  }
  return repeats
}

function keyOf(identity: RecordIdentity): string {
  return `${identity.runId}:${identity.runSeq}`
}
