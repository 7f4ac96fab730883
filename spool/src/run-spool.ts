/**
 * The disk buffer of one run: a SQLite file with a single writer, a row a chunk. What `append` returned for survives the
 * process being killed; what the broker acknowledged is trimmed; what is left is drained by whoever adopts the file.
 * All calls are synchronous: run them on a worker thread.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import type { Chunk } from './chunk.ts'
import { createPrivateFile, Database, makeDirectory } from './database.ts'
import { listNames, newSpoolFile, removeSpool, RUN_ID, runIdOf, SPOOL, takeReserve } from './spool-file.ts'
import { SpoolTable } from './spool-table.ts'

export interface StoredChunk {
  readonly id: number
  readonly chunk: Chunk
}

export interface SpoolStats {
  /** Bytes of the records not trimmed yet and of their layout; the file itself can be larger. */
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
  /** Path of the file. */
  readonly file: string
  /** Bytes as {@link SpoolStats} counts them. */
  readonly bytes: number
  /** run_seqs of what is there, from the first to the last; `last` is below `first` when it is empty. */
  readonly runSeqs: { readonly first: number; readonly last: number }
  /** Whether it may hold records without a partition: before {@link fixPartitions} they cannot be read. */
  readonly unplaced: boolean
  /**
   * Sets the number of partitions for records that were stored before it was known, in one commit. Counts once: what the
   * file was told stays, whoever adopts it, since some of it may have been sent by then.
   * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the disk refuses: call it again before sending anything.
   */
  fixPartitions(count: number): void
  /**
   * Chunks with an id above `afterId`, in order, as many as fit into `maxBytes`, and at least one if there is one.
   * Chunks before a damaged one are returned first; the error comes when the damaged one would be the first.
   * @throws IntegrityError `SPOOL_CORRUPT`: deliver nothing from here on, call {@link setAside}.
   */
  read(afterId: number, maxBytes: number): StoredChunk[]
  /**
   * Forgets every chunk up to and with this id: the broker has acknowledged them.
   * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the disk refuses, as a full one does: trim again later, or
   * close, which removes the file when everything in it was to be forgotten.
   */
  trim(upToId: number): void
  stats(): SpoolStats
  /** Lets go of a damaged file: renamed to `<file>.damaged-<time>`, never deleted. Returns the new path if there was a file. */
  setAside(): string | undefined
  /** Lets go of the file, and removes it when it is empty. Calling it again does nothing. */
  close(): void
}

export interface RunSpool extends AdoptedSpool {
  /**
   * Commits the chunk and returns its id; ids rise by one. Once it has returned, the chunk survives the process being
   * killed, and with `fsync` the loss of power. All or nothing: a refused chunk leaves no trace.
   *
   * After `SPOOL_UNAVAILABLE` the outcome is open, since the disk may have kept what it reported as failed: the caller
   * MUST either append the very same chunk again, or never use its run_seqs for other records.
   * @throws AuditUnavailableError `SPOOL_FULL` when the chunk would pass `maxBytes` (nothing was tried), or
   * `SPOOL_UNAVAILABLE` when the disk refuses.
   * @param options - `keepFreeBytes`: how many bytes must be left below the limit. @defaultValue 0
   * @throws InvalidInputError `OPTIONS_INVALID` when the chunk contradicts itself or uses a run_seq again.
   */
  append(chunk: Chunk, options?: { readonly keepFreeBytes?: number }): number
}

export interface RunSpoolOptions {
  /** Made, for its owner only, when it is missing. */
  readonly directory: string
  /** 32 hex digits, new for each run. */
  readonly runId: string
  /** Most bytes of records not yet acknowledged (as {@link SpoolStats} counts them). */
  readonly maxBytes: number
  /** Whether each append also survives the loss of power: one fsync an append. */
  readonly fsync: boolean
  /** The number of partitions, where it is known: as {@link AdoptedSpool.fixPartitions}, without a commit of its own. */
  readonly partitions?: number | undefined
}

/** How long the owner waits for an adopter that looked at its file while it was still empty. */
const OWNER_BUSY_TIMEOUT_MS = 5000
const OPEN_ATTEMPTS = 5

/**
 * Makes the spool of a new run and holds its lock until {@link RunSpool.close} or the end of the process.
 * @throws InvalidInputError `OPTIONS_INVALID`: wrong options, or a run_id that has a spool here already.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE`: the directory or the file cannot be written.
 */
export function openRunSpool(options: RunSpoolOptions): RunSpool {
  const { directory, runId, maxBytes } = options
  if (!RUN_ID.test(runId)) {
    throw new InvalidInputError('OPTIONS_INVALID', `runId: expected 32 hex digits in lower case, not "${runId}"`)
  }
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1) {
    throw new InvalidInputError('OPTIONS_INVALID', `maxBytes: expected a whole number from 1, not ${maxBytes}`)
  }
  makeDirectory(SPOOL, directory)
  const present = listNames(directory).find((name) => runIdOf(name) === runId)
  if (present !== undefined) {
    throw new InvalidInputError('OPTIONS_INVALID', `runId: ${join(directory, present)} exists; a run_id is used once`)
  }
  const db = openNewFile(options)
  try {
    const insert = db.prepare('INSERT INTO run VALUES (?, ?, ?)')
    db.use('write', () => insert.run(runId, Date.now(), options.partitions ?? null))
    if (options.partitions === undefined) takeReserve(db.file)
    return new SpoolTable(db, runId, maxBytes)
  } catch (error) {
    removeSpool(db.file)
    db.close()
    throw error
  }
}

/**
 * An adopter may take the new file for that of a dead run: it was created, not yet locked; the adopter locks it, finds
 * it empty, removes it and lets go; only then does the owner get the lock, on a file without a name, whose records
 * nobody would find. An adopter removes only while it holds the lock, so whether the name is still there, once we have
 * the lock, decides.
 */
function openNewFile({ directory, runId, fsync }: RunSpoolOptions): Database {
  for (let attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
    const file = newSpoolFile(directory, runId)
    createPrivateFile(SPOOL, file)
    const db = tryOpen(file, fsync)
    if (db !== undefined && existsSync(file)) return db
    db?.close()
  }
  const message = `a new spool in ${directory} was removed ${OPEN_ATTEMPTS} times while being created`
  throw new AuditUnavailableError('SPOOL_UNAVAILABLE', message)
}

/** Undefined when the file was removed meanwhile, which SQLite meets in more than one way. */
function tryOpen(file: string, fsync: boolean): Database | undefined {
  try {
    return new Database(SPOOL, file, { access: 'exclusive', busyTimeoutMs: OWNER_BUSY_TIMEOUT_MS, fsync })
  } catch (error) {
    if (!existsSync(file)) return undefined
    // As on a full disk. Left there, it would be this run's spool at the next try.
    removeSpool(file)
    throw error
  }
}
