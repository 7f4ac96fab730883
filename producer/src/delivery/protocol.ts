/** The messages between the agent's thread and the delivery thread. Structured-cloneable; chunks are transferred. */
import { AuditUnavailableError, IntegrityError, InvalidInputError, TrailError } from '@agent-audit/schemas'
import type { ErrorCode, RegistryConnection } from '@agent-audit/schemas'
import type { SealChain } from '@agent-audit/spool'
import type { Destination } from '../options/destination.ts'
import type { Signing } from '../options/signing.ts'
import type { Durability } from '../api/trail-options.ts'

/** Encoded records that the recorder hands over, identified by the run_seq of the first. They have no partitions yet. */
export interface EncodedChunk {
  readonly firstSeq: number
  /** Encoded records, framed as single objects, back to back. */
  readonly bytes: Uint8Array<ArrayBuffer>
  /** End of each record in `bytes`. */
  readonly ends: Uint32Array<ArrayBuffer>
  /** Whether it holds events of the trail itself, which may use the room that a spool keeps free. */
  readonly fromTrail: boolean
}

/** The part of the options that delivery needs: no function, so that it can be cloned to another thread. */
export interface DeliverySettings {
  readonly topic: string
  readonly destination: Destination
  readonly schemaRegistry: RegistryConnection | undefined
  readonly durability: Durability
  readonly fsync: boolean
  /** The directory of this topic's spools. */
  readonly spoolDir: string
  readonly spoolMaxBytes: number
  /** Whether events may go to another cluster than the one they were recorded for. */
  readonly toAnyCluster: boolean
  readonly onFull: 'wait' | 'refuse'
  readonly producerId: string
  /** Undefined: the run makes no seals. */
  readonly signing: Signing | undefined
  /** 32 hex digits. */
  readonly runId: string
}

export function settingsOf(options: Omit<DeliverySettings, 'runId'>, runId: string): DeliverySettings {
  const { topic, destination, schemaRegistry, durability, fsync, spoolDir, onFull } = options
  const { spoolMaxBytes, toAnyCluster, producerId, signing } = options
  const spool = { spoolDir, spoolMaxBytes, toAnyCluster }
  return { runId, topic, destination, schemaRegistry, durability, fsync, ...spool, onFull, producerId, signing }
}

/** What one run of delivery is started with. */
export interface ThreadSettings extends DeliverySettings {
  /** Whether delivery of this run has failed before: there may be spools of it, whose chunks it takes over. */
  readonly restarted: boolean
  /** Where the chain of the run's seals stood last, as {@link Report.chain}; null: no record of it was sealed or to be sealed. */
  readonly chain: SealChain | null
  /**
   * One number, in shared memory: the chunks settled so far, stored with the trail's durability or refused. For an agent's
   * thread that cannot wait for a message.
   */
  readonly settled: Int32Array
}

export type ToDelivery =
  | { readonly type: 'chunk'; readonly chunk: EncodedChunk }
  | { readonly type: 'close'; readonly nextSeq: number }

/** Records of one partition, in order, whose offsets have no gap. */
export interface OffsetRange {
  readonly partition: number
  readonly firstOffset: number
  readonly count: number
}

/**
 * The positions of a chunk's records in the log. Small, because a backlog is acknowledged faster than the agent's thread
 * collects garbage: one offset per record would make megabytes of garbage, within the heap or outside.
 */
export interface ChunkAck {
  readonly firstSeq: number
  /** Of each record. */
  readonly partitions: Uint8Array | Uint16Array | Int32Array
  /** Those of one partition are in the order of its records. */
  readonly ranges: readonly OffsetRange[]
  /** The records that the broker will never take, by rising index; `ranges` counts none of them. */
  readonly rejected?: readonly RecordRejection[] | undefined
}

/** A record of a chunk that is not in the topic, and never will be as it is. */
export interface RecordRejection {
  readonly index: number
  readonly problem: Problem
}

/** The position of one record of an acknowledged chunk. */
export function positionOf(
  { partitions, ranges, rejected = [] }: ChunkAck,
  index: number,
): { partition: number; offset: number } {
  const partition = partitions[index] ?? -1
  let nth = 0
  for (let before = 0; before < index; before++) if (partitions[before] === partition) nth++
  for (const { index: before } of rejected) if (before < index && partitions[before] === partition) nth--
  for (const range of ranges) {
    if (range.partition !== partition) continue
    if (nth < range.count) return { partition, offset: range.firstOffset + nth }
    nth -= range.count
  }
  return { partition, offset: -1 }
}

export interface ChunkRefusal {
  readonly firstSeq: number
  readonly problem: Problem
}

/** Events that will not be delivered: their spool is damaged, or the broker will never take them. */
export interface Loss {
  /** 32 hex digits: this run, or a dead one. */
  readonly runId: string
  /** Their run_seqs, inclusive; null when the file cannot be read. */
  readonly first: number | null
  readonly last: number | null
  /** Path of the file that is kept: the damaged spool, or the records that the broker does not take. Null without a spool. */
  readonly file: string | null
  readonly code: ErrorCode
  readonly reason: string
}

/** Of all spools that a run sends from. */
export interface SpoolGauges {
  readonly spoolBytes: number
  readonly spoolEvents: number
  /** When the oldest event on disk was appended, milliseconds since 1970. */
  readonly spoolOldestMs: number | null
}

export interface Gauges extends SpoolGauges {
  /** Whether new work should wait for room in this run's own spool. */
  readonly spoolFull: boolean
  /** Records of dead runs that this run has sent. */
  readonly adopted: number
  readonly connected: boolean
}

/** Those of a delivery that has done nothing. */
export const NO_GAUGES: Gauges = {
  spoolBytes: 0,
  spoolEvents: 0,
  spoolOldestMs: null,
  spoolFull: false,
  adopted: 0,
  connected: false,
}

/** The facts since the last report. */
export interface Report {
  /** Every chunk that starts at or before this run_seq is in the spool, except those refused. */
  readonly storedTo: number
  readonly refused: readonly ChunkRefusal[]
  readonly acked: readonly ChunkAck[]
  readonly lost: readonly Loss[]
  readonly problems: readonly Problem[]
  /**
   * Set once, by a delivery that was started again: the chunks of this run that were in its spools, by the run_seq of their
   * first record. Of the chunks posted to an earlier delivery of the run no others are left. Null in all other reports.
   */
  readonly resumed: readonly number[] | null
  /** Where the chain of the run's seals stands, if that has changed. */
  readonly chain: SealChain | null
  readonly gauges: Gauges
  /** Memory of chunks that the delivery thread no longer reads, to be used again; transferred. */
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

/** Any error as data. An error outside of the tree counts as unavailable. */
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
