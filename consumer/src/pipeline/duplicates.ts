/**
 * Stage: finds the records a producer sent again. A record is known by (run_id, run_seq); they rise within a partition
 * for each run, so only a record not above the highest seen can be a duplicate, and only those are looked up, exactly: a
 * replayed or reordered record that is not in the table must not be lost.
 */
import type { LogPartition } from '@agent-audit/kafka'
import type { Batch, BatchRun } from './batch.ts'
import type { RecordIdentity, Sink } from './sink.ts'

/** Runs whose highest run_seq is kept per partition; beyond it the table is asked again. */
const MAX_RUNS = 10_000

export class DuplicateFilter {
  readonly #place: LogPartition
  readonly #sink: Sink
  /** Highest run_seq in the table, by run id in hex; -1 for a run without a row. Oldest entry first. */
  readonly #highest = new Map<string, number>()

  constructor(place: LogPartition, sink: Sink) {
    this.#place = place
    this.#sink = sink
  }

  /**
   * Positions in the batch of records that are earlier in it, or in audit_events. Asks about runs not met before, and
   * about the records in question.
   */
  async find(batch: Batch): Promise<Set<number>> {
    await this.#learnRuns([...batch.runs.keys()].filter((run) => !this.#highest.has(run)))
    const duplicates = repeatsWithin(batch)
    const suspects = this.#suspectsOf(batch)
    if (suspects.length === 0) return duplicates
    const asked = suspects.map((position) => identityAt(batch, position))
    const stored = new Set((await this.#sink.stored(this.#place, asked)).map(keyOf))
    for (const position of suspects) if (stored.has(keyOf(identityAt(batch, position)))) duplicates.add(position)
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

  // Most batches have none, which their runs tell: only the others are walked event by event.
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
    const found = await this.#sink.highestSeqs(this.#place, runs)
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
