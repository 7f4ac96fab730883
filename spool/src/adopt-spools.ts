/**
 * Finds the spools of dead runs. Whether a run is dead is told by the lock on its file alone: it is held while its
 * process runs or is stopped, and free once it is gone. A pid could have been given to another process since.
 */
import { randomUUID } from 'node:crypto'
import { existsSync, linkSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { Database, isBusy, unavailable } from './database.ts'
import type { AdoptedSpool } from './run-spool.ts'
import { listNames, removeSpool, runIdOf, setAside, SPOOL } from './spool-file.ts'
import { SpoolTable } from './spool-table.ts'

export interface AdoptOptions {
  readonly directory: string
  /** run_id to leave out. Not needed for a live run: its lock keeps it out. */
  readonly except?: string | undefined
}

export interface Adoption {
  /** Spools of dead runs that hold records, the oldest run first; each one locked until it is closed. */
  readonly spools: AdoptedSpool[]
  /** Files that are damaged: where they lie now, and why. Somebody should look at them. */
  readonly damaged: { readonly file: string; readonly runId: string; readonly reason: string }[]
  /** Files left as they are because they cannot be read now: rights, a full disk, a later release's format. */
  readonly skipped: { readonly file: string; readonly reason: string }[]
}

/**
 * Opens the spools in a directory whose owner is dead, for draining: read, send, trim, close. Files of live runs are
 * left alone; empty ones of dead runs are removed. A directory that does not exist has none.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the directory cannot be read.
 */
export function adoptSpools(options: AdoptOptions): Adoption {
  const found: FoundSpool[] = []
  const adoption: Adoption = { spools: [], damaged: [], skipped: [] }
  for (const name of listNames(options.directory)) {
    const runId = runIdOf(name)
    if (runId === undefined || runId === options.except) continue
    const file = join(options.directory, name)
    try {
      const adopted = adopt(file, runId)
      if (adopted !== undefined) found.push(adopted)
    } catch (error) {
      noteFailure(adoption, { file, runId }, error)
    }
  }
  found.sort((one, other) => one.createdMs - other.createdMs)
  adoption.spools.push(...found.map((entry) => entry.spool))
  return adoption
}

function noteFailure(adoption: Adoption, { file, runId }: { file: string; runId: string }, error: unknown): void {
  if (isBusy(error)) return // Its owner lives.
  if (error instanceof DamagedFile) adoption.damaged.push({ file: error.aside, runId, reason: error.message })
  else if (error instanceof AuditUnavailableError) adoption.skipped.push({ file, reason: error.message })
  else throw error
}

interface FoundSpool {
  readonly spool: AdoptedSpool
  readonly createdMs: number
}

/** A file that was found damaged and set aside at `aside`. */
class DamagedFile extends Error {
  readonly aside: string

  constructor(aside: string, reason: string) {
    super(reason)
    this.aside = aside
  }
}

function adopt(file: string, runId: string): FoundSpool | undefined {
  const rescued = rescueLog(file)
  let db: Database | undefined
  try {
    db = openDead(file)
    return db && judge(db, runId, rescued)
  } catch (error) {
    if (!(error instanceof IntegrityError)) {
      db?.close()
      throw error
    }
    const aside = setAside(file, db, rescued)
    if (aside === undefined) return undefined // Another process has set it aside first, and reports it.
    throw new DamagedFile(aside, error.message)
  } finally {
    if (rescued !== undefined) rmSync(rescued, { force: true })
  }
}

/** What the file is, now that it is locked and its owner is known to be dead; undefined when it was empty and is removed. */
function judge(db: Database, runId: string, rescued: string | undefined): FoundSpool | undefined {
  const { file } = db
  if (rescued !== undefined) {
    throw new IntegrityError('SPOOL_CORRUPT', `${file} is empty, but its write-ahead log is not`)
  }
  const spool = db.fileBytes() === 0 ? undefined : new SpoolTable(db, runId, Number.MAX_SAFE_INTEGER)
  if (spool === undefined || spool.stats().chunks === 0) {
    removeSpool(file)
    db.close()
    return undefined
  }
  const { run } = spool
  if (run?.run_id !== runId) throw new IntegrityError('SPOOL_CORRUPT', `${file} belongs to run ${run?.run_id}`)
  return { spool, createdMs: run.created_ms }
}

/**
 * SQLite deletes the write-ahead log of an empty file as a leftover once it has the lock. Ours is never empty when it has
 * a log: the events are in that log, which gets a second name before the lock is tried.
 *
 * The log is looked at first. An owner that is about to begin makes the file, fills it and then makes the log: looked at
 * in that order, an empty file and then a log would be the same file at two moments.
 * @returns The second name.
 */
function rescueLog(file: string): string | undefined {
  const log = `${file}-wal`
  if ((sizeOf(log) ?? 0) === 0 || sizeOf(file) !== 0) return undefined
  const rescued = `${log}.rescued-${randomUUID()}`
  try {
    linkSync(log, rescued)
    return rescued
  } catch (error) {
    throw unavailable(SPOOL, `keep ${log}`, error)
  }
}

/** Undefined when there is no such file. */
function sizeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.size
}

/** Takes the lock of a dead run's file; undefined when the file is gone. @throws busy, when its owner lives. */
function openDead(file: string): Database | undefined {
  let db: Database | undefined
  try {
    db = new Database(SPOOL, file, { access: 'existing', busyTimeoutMs: 0, fsync: false })
  } catch (error) {
    if (existsSync(file)) throw error
    return undefined
  }
  if (existsSync(file)) return db
  // Another adopter drained and removed it between our opening and locking it.
  db.close()
  return undefined
}
