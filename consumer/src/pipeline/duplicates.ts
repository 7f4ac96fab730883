/**
 * Stage: finds records that a producer sent again. (run_id, run_seq) identifies a record. Within a partition the run_seqs of a
 * run rise, so only a record that is not above the highest one seen can be a duplicate. Only those suspects are looked up, and
 * exactly: a replayed or reordered record that is not in the table must not be lost.
 */
import type { LogPartition } from '@agent-audit/kafka'
import type { Batch, BatchRun } from './batch.ts'
import type { RecordIdentity, Sink } from './sink.ts'

/** Runs whose highest run_seq is kept, per partition. For others the table is asked again. */
const MAX_RUNS = 10_000

export class DuplicateFilter {
  readonly #logPartition: LogPartition
  readonly #sink: Sink
  /** Highest run_seq in the table, by run id in hex; -1 for a run without a row. Oldest entry first. */
  readonly #highest = new Map<string, number>()

  constructor(logPartition: LogPartition, sink: Sink) {
    this.#logPartition = logPartition
    this.#sink = sink
  }

  /**
   * Returns the positions of records that are earlier in the batch, or in audit_events. Queries the table for runs not seen
   * before, and for the suspects.
   */
  async find(batch: Batch): Promise<Set<number>> {
    await this.#learnRuns([...batch.runs.keys()].filter((run) => !this.#highest.has(run)))
    const duplicates = repeatsWithin(batch)
    const suspects = this.#suspectsOf(batch)
    if (suspects.length === 0) return duplicates
    const asked = suspects.map((position) => identityAt(batch, position))
    const stored = new Set((await this.#sink.stored(this.#logPartition, asked)).map(keyOf))
    for (const position of suspects) if (stored.has(keyOf(identityAt(batch, position)))) duplicates.add(position)
    return duplicates
  }

  /** Call it once the batch is in the table. */
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

  // Most batches have no suspects, as their runs show: only the others are walked event by event.
  #suspectsOf(batch: Batch): number[] {
    const suspected = new Map<BatchRun, number>()
    for (const run of batch.runs.values()) {
      const highest = this.#highestOf(run.hex)
      if (run.lowestSeq <= highest) suspected.set(run, highest)
    }
    if (suspected.size === 0) return []
    const suspects: number[] = []
    for (const [position, run] of batch.eventRuns.entries()) {
      if ((batch.eventSeqs[position] ?? 0) <= (suspected.get(run) ?? -1)) suspects.push(position)
    }
    return suspects
  }

  async #learnRuns(runs: readonly string[]): Promise<void> {
    if (runs.length === 0) return
    const found = await this.#sink.highestSeqs(this.#logPartition, runs)
    for (const run of runs) this.#highest.set(run, found.get(run) ?? -1)
  }

  #highestOf(run: string): number {
    return this.#highest.get(run) ?? -1
  }
}

function repeatsWithin(batch: Batch): Set<number> {
  const repeats = new Set<number>()
  if (!batch.unordered) return repeats
  const seen = new Set<string>()
  for (const position of batch.eventRuns.keys()) {
    const key = keyOf(identityAt(batch, position))
    if (seen.has(key)) repeats.add(position)
    seen.add(key)
  }
  return repeats
}

function identityAt(batch: Batch, position: number): RecordIdentity {
  return { runId: batch.eventRuns[position]?.hex ?? '', runSeq: batch.eventSeqs[position] ?? 0 }
}

function keyOf(identity: RecordIdentity): string {
  return `${identity.runId}:${identity.runSeq}`
}
