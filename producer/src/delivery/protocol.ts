/** What the agent's thread and the delivery thread tell each other. Structured-cloneable; chunks are transferred. */
import { AuditUnavailableError, IntegrityError, InvalidInputError, TrailError } from '@agent-audit/schemas'
import type { ErrorCode } from '@agent-audit/schemas'
import type { ResolvedOptions } from '../options/options.ts'

/** Records as the recorder hands them over, known by the run_seq of the first; where they go is delivery's affair. */
export interface SealedChunk {
  readonly firstSeq: number
  /** Encoded records, framed as single objects, back to back. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** End of each record in `bytes`. */
  readonly ends: Uint32Array<ArrayBuffer>
  /** Whether it holds events of the trail itself, which a full spool has room for. */
  readonly own: boolean
}

export type DeliverySettings = Pick<
  ResolvedOptions,
  'topic' | 'destination' | 'schemaRegistryUrl' | 'durability' | 'fsync' | 'spoolDir' | 'spoolMaxBytes' | 'onFull'
> & {
  /** 32 hex digits. */
  readonly runId: string
  /** One Int32: chunks settled so far, in the durability of the trail or refused. For who cannot wait for a message. */
  readonly settled: SharedArrayBuffer
}

/** What delivery needs of the options: no function, so that it can be cloned to another thread. */
export function settingsOf(options: ResolvedOptions, runId: string): DeliverySettings {
  const { topic, destination, schemaRegistryUrl, durability, fsync, spoolDir, spoolMaxBytes, onFull } = options
  const settled = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
  return { runId, settled, topic, destination, schemaRegistryUrl, durability, fsync, spoolDir, spoolMaxBytes, onFull }
}

export type ToDelivery = { readonly type: 'chunk'; readonly chunk: SealedChunk } | { readonly type: 'close' }

/** Records of one partition, in order, that have offsets without a gap. */
export interface OffsetRun {
  readonly partition: number
  readonly firstOffset: number
  readonly count: number
}

/**
 * Where the broker keeps the records of a chunk. Small, for a backlog is acknowledged faster than the agent's thread
 * collects garbage: an offset for each record would be megabytes of it, within the heap or outside.
 */
export interface ChunkAck {
  readonly firstSeq: number
  /** Of each record. */
  readonly partitions: Uint8Array | Uint16Array | Int32Array
  /** Those of a partition in the order of its records. */
  readonly runs: readonly OffsetRun[]
}

/** Where one record of an acknowledged chunk is. */
export function placeOf({ partitions, runs }: ChunkAck, index: number): { partition: number; offset: number } {
  const partition = partitions[index] ?? -1
  let place = 0
  for (let before = 0; before < index; before++) if (partitions[before] === partition) place++
  for (const run of runs) {
    if (run.partition !== partition) continue
    if (place < run.count) return { partition, offset: run.firstOffset + place }
    place -= run.count
  }
  return { partition, offset: -1 }
}

export interface ChunkRefusal {
  readonly firstSeq: number
  readonly problem: Problem
}

/** Events that were stored and will not be delivered: their spool is damaged. */
export interface Loss {
  /** 32 hex digits: this run, or a dead one. */
  readonly runId: string
  /** Their run_seqs, inclusive; null when the file does not tell. */
  readonly first: number | null
  readonly last: number | null
  /** Where the damaged file lies now. */
  readonly file: string
  readonly reason: string
}

export interface Gauges {
  /** Of all spools that this run sends from. */
  readonly spoolBytes: number
  /** When the oldest event on disk was appended, milliseconds since 1970. */
  readonly spoolOldestMs: number | null
  /** Whether new work should wait for room in this run's own spool. */
  readonly spoolFull: boolean
  readonly adopted: number
  readonly connected: boolean
}

/** What happened since the last report. */
export interface Report {
  /** Every chunk that starts at or before this run_seq is in the spool, but for those refused. */
  readonly storedTo: number
  readonly refused: readonly ChunkRefusal[]
  readonly acked: readonly ChunkAck[]
  readonly lost: readonly Loss[]
  readonly problems: readonly Problem[]
  readonly gauges: Gauges
  /** Memory of chunks that are acknowledged or on disk only, to be used again; transferred. */
  readonly freed: ArrayBuffer[]
  /** Set in the last report. */
  readonly closed: boolean
}

/** An error of the tree, as data. */
export interface Problem {
  readonly kind: 'unavailable' | 'integrity' | 'invalid'
  readonly code: ErrorCode
  readonly message: string
}

/** Any error as data: one from outside of the tree counts as trouble of the pipeline. */
export function toProblem(error: unknown, fallback: ErrorCode): Problem {
  const message = error instanceof Error ? error.message : String(error)
  if (!(error instanceof TrailError)) return { kind: 'unavailable', code: fallback, message }
  const kind = error instanceof IntegrityError ? 'integrity' : error.retryable ? 'unavailable' : 'invalid'
  return { kind, code: error.code, message }
}

export function fromProblem({ kind, code, message }: Problem): TrailError {
  if (kind === 'integrity') return new IntegrityError(code, message)
  return kind === 'unavailable' ? new AuditUnavailableError(code, message) : new InvalidInputError(code, message)
}
