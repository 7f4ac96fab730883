/**
 * Stage: finds records that a producer sent again. (run_id, run_seq) identifies a record. Within a partition the run_seqs of a
 * run rise, so only a record that is not above the highest one seen can be a duplicate. Only those suspects are looked up, and
 * exactly: a replayed or reordered record that is not in the table must not be lost.
 */
import type { LogPartition } from '@agent-audit/kafka'
import type { Batch, BatchRun } from './batch.ts'
import type { RecordIdentity, Sink, StoredRecord } from './sink.ts'

/** Runs that are remembered, per partition. For others the table is asked again. */
const MAX_RUNS = 10_000

/** Highest run_seqs of a run; -1 where there is none. */
interface SeenRun {
  /** In the table. Undefined: it was not asked yet. */
  stored: number | undefined
  /** In the batches that were cut. */
  cut: number
}

export class DuplicateFilter {
  readonly #logPartition: LogPartition
  readonly #sink: Sink
  /** By run id in hex. Oldest entry first. */
  readonly #runs = new Map<string, SeenRun>()

  constructor(logPartition: LogPartition, sink: Sink) {
    this.#logPartition = logPartition
    this.#sink = sink
  }

  /**
   * The highest run_seq of a run at which its next record may be a duplicate: infinite for a run that is not known. The batch
   * before may not be in the table yet, so it counts.
   */
  suspectUpTo(run: string): number {
    const known = this.#runs.get(run)
    return known?.stored === undefined ? Number.POSITIVE_INFINITY : Math.max(known.stored, known.cut)
  }

  /** Call it once the batch is complete, before the next one is begun. */
  noteCut(batch: Batch): void {
    for (const { hex, highestSeq } of batch.runs.values()) {
      const run = this.#runs.get(hex)
      if (run === undefined) this.#runs.set(hex, { stored: undefined, cut: highestSeq })
      else run.cut = Math.max(run.cut, highestSeq)
    }
  }

  /**
   * Returns the positions of records that are earlier in the batch, or in audit_events, with the record that each repeats.
   * Queries the table for runs not seen before, and for the suspects.
   */
  async find(batch: Batch): Promise<Map<number, StoredRecord>> {
    await this.#learnRuns([...batch.runs.keys()])
    const duplicates = repeatsWithin(batch)
    const suspects = this.#suspectsOf(batch)
    if (suspects.length === 0) return duplicates
    const asked = suspects.map((position) => identityAt(batch, position))
    const found = await this.#sink.stored(this.#logPartition, asked)
    const stored = new Map(found.map((record) => [keyOf(record), record]))
    for (const position of suspects) {
      const record = stored.get(keyOf(identityAt(batch, position)))
      if (record !== undefined) duplicates.set(position, record)
    }
    return duplicates
  }

  /** Call it once the batch is in the table. */
  noteStored(batch: Batch): void {
    for (const { hex, highestSeq } of batch.runs.values()) {
      const run = this.#runs.get(hex) ?? { stored: undefined, cut: Number.POSITIVE_INFINITY }
      run.stored = Math.max(run.stored ?? -1, highestSeq)
      this.#runs.delete(hex)
      this.#runs.set(hex, run)
    }
    for (const run of this.#runs.keys()) {
      if (this.#runs.size <= MAX_RUNS) return
      this.#runs.delete(run)
    }
  }

  // Most runs that the filter does not know are new: those that the table has are looked for first.
  #suspectsOf(batch: Batch): number[] {
    if (batch.suspects.length === 0) return []
    const highest = new Map<BatchRun | undefined, number>()
    for (const run of batch.runs.values()) {
      const stored = this.#runs.get(run.hex)?.stored ?? -1
      if (stored >= 0) highest.set(run, stored)
    }
    if (highest.size === 0) return []
    return batch.suspects.filter((position) => {
      return (batch.eventSeqs[position] ?? 0) <= (highest.get(batch.eventRuns[position]) ?? -1)
    })
  }

  async #learnRuns(runs: readonly string[]): Promise<void> {
    const unknown = runs.filter((run) => this.#runs.get(run)?.stored === undefined)
    if (unknown.length === 0) return
    const found = await this.#sink.highestSeqs(this.#logPartition, unknown)
    for (const hex of unknown) {
      const [stored, run] = [found.get(hex) ?? -1, this.#runs.get(hex)]
      // A run that was forgotten meanwhile may be in a batch that is not stored yet: all of its records are suspect.
      if (run === undefined) this.#runs.set(hex, { stored, cut: Number.POSITIVE_INFINITY })
      else run.stored = stored
    }
  }
}

function repeatsWithin(batch: Batch): Map<number, StoredRecord> {
  const repeats = new Map<number, StoredRecord>()
  if (!batch.unordered) return repeats
  const seen = new Map<string, number>()
  for (const position of batch.eventRuns.keys()) {
    const identity = identityAt(batch, position)
    const first = seen.get(keyOf(identity))
    if (first === undefined) seen.set(keyOf(identity), position)
    else {
      const offset = batch.eventOffsets[first] ?? 0
      repeats.set(position, { ...identity, offset, eventId: batch.eventIdAt(first) })
    }
  }
  return repeats
}

function identityAt(batch: Batch, position: number): RecordIdentity {
  return { runId: batch.eventRuns[position]?.hex ?? '', runSeq: batch.eventSeqs[position] ?? 0 }
}

function keyOf(identity: RecordIdentity): string {
  return `${identity.runId}:${identity.runSeq}`
}
