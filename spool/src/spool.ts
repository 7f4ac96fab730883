/**
 * The disk buffer of one run: a SQLite file with one writer, one row per chunk. A chunk that `append` returned for survives
 * the process being killed. Chunks that the broker acknowledged are trimmed. The next owner adopts the file and drains the
 * rest. All calls are synchronous: run them on a worker thread.
 */
import type { Chunk } from './chunk.ts'
import type { KnownTopic } from './known-topics.ts'
import type { ChunkLeaves, SpoolSeals } from './seals.ts'

export interface StoredChunk {
  readonly id: number
  readonly chunk: Chunk
}

export interface SpoolStats {
  /** Bytes of the records not trimmed yet and of their layout, and of leaves and seals; the file itself can be larger. */
  readonly bytes: number
  readonly chunks: number
  readonly records: number
  /** Wall-clock time at which the oldest of them was appended, milliseconds since 1970; null when there is none. */
  readonly oldestMs: number | null
}

/** A dead run's spool: to be read, sent and trimmed under the run_id it was written with. */
export interface AdoptedSpool {
  /** 32 hex digits. */
  readonly runId: string
  /** The Kafka topic of its records, as the run's owner gave it. */
  readonly topic: string
  /** Path of the file. {@link move} changes it. */
  readonly file: string
  /** Whether the file and its write-ahead log are still where they were made: false once one was removed, renamed or replaced. */
  readonly inPlace: boolean
  /** Bytes as {@link SpoolStats} counts them. */
  readonly bytes: number
  /** run_seqs of the records in the file, from the first to the last; `last` is below `first` when it is empty. */
  readonly runSeqs: { readonly first: number; readonly last: number }
  /**
   * Id of the Kafka cluster, or embedded log, that its records are for. Undefined: no owner has reached one. Of a run that
   * has not called {@link bind} yet: the one that was last seen in the directory.
   */
  readonly cluster: string | undefined
  /** The seals of the run; undefined when it makes none. */
  readonly seals: SpoolSeals | undefined
  /** Whether {@link bind} must be called before anything is read and sent. */
  readonly unbound: boolean
  /**
   * Binds the records to a cluster, and those without partitions to their number, in one commit. Only the first call counts:
   * the file keeps both for every later owner, since some records may have been sent by then.
   * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the disk refuses: call it again before sending anything.
   */
  bind(topic: KnownTopic): void
  /**
   * Chunks with an id above `afterId`, in order, as many as fit into `maxBytes`, and at least one if there is one.
   * Chunks before a damaged one are returned first; the error comes when the damaged one would be the first.
   * @throws IntegrityError `SPOOL_CORRUPT`: deliver nothing from here on, call {@link setAside}.
   */
  read(afterId: number, maxBytes: number): StoredChunk[]
  /**
   * Deletes every chunk up to and including this id: the broker has acknowledged them.
   * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the disk refuses, as a full one does: trim again later, or
   * close, which removes the file when all its chunks were to be deleted.
   */
  trim(upToId: number): void
  /**
   * Moves to a new file in the same directory, which is made again where it is missing: for a file that is not in its place.
   * Its chunks, ids included, stay as they are.
   * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the disk refuses; the spool then stays in the old file.
   */
  move(): void
  stats(): SpoolStats
  /** The run_seq of the first record of each chunk in the file, in order. @throws as {@link read}. */
  firstSeqs(): number[]
  /** Closes a damaged file: renamed to `<file>.damaged-<time>`, never deleted. Returns the new path if there was a file. */
  setAside(): string | undefined
  /** Closes the file, and removes it when it is empty and its seals are finished. Calling it again does nothing. */
  close(): void
}

export interface AppendOptions {
  readonly keepFreeBytes?: number | undefined
  /** Only for the spool of a run that makes seals. */
  readonly leaves?: ChunkLeaves | undefined
}

export interface RunSpool extends AdoptedSpool {
  /**
   * Commits the chunk and returns its id; ids rise by one. Once it has returned, the chunk survives the process being
   * killed, and with `fsync` the loss of power. All or nothing: a refused chunk leaves no trace.
   *
   * A file that is not in its place any more stores nothing: `SPOOL_UNAVAILABLE`, and the next append moves it first.
   *
   * After `SPOOL_UNAVAILABLE` the outcome is open, since the disk may have kept the commit that it reported as failed: the
   * caller MUST either append the very same chunk again, or never use its run_seqs for other records.
   * @throws AuditUnavailableError `SPOOL_FULL` when the chunk would pass `maxBytes` (nothing was tried), or
   * `SPOOL_UNAVAILABLE` when the disk refuses.
   * @param options - `keepFreeBytes`: how many bytes must be left below the limit. @defaultValue 0; `leaves`: of the chunk, in
   * the same commit.
   * @throws InvalidInputError `OPTIONS_INVALID` when the chunk contradicts itself or uses a run_seq again.
   */
  append(chunk: Chunk, options?: AppendOptions): number
}
