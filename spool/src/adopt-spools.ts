/**
 * Finds the spools of dead runs. Only the lock on a run's file tells whether the run is dead: the lock is held while its
 * process runs or is stopped, and free once the process has ended. A pid could belong to another process by now.
 */
import { randomUUID } from 'node:crypto'
import { existsSync, linkSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { Database, isBusy, unavailable } from './database.ts'
import { listNames, removeSpool, runIdOf, setAside, SPOOL } from './spool-file.ts'
import type { AdoptedSpool } from './spool.ts'
import { isEmptySpool } from './spool-rows.ts'
import { SpoolTable } from './spool-table.ts'

export interface AdoptOptions {
  readonly directory: string
  /** run_id to leave out. Not needed for a live run: adopters cannot take its lock. */
  readonly except?: string | undefined
}

export interface Adoption {
  /** Spools of dead runs that hold records, the oldest run first; each one locked until it is closed. */
  readonly spools: AdoptedSpool[]
  /** Damaged files, with their new path and the reason. An operator should look at them. */
  readonly damaged: { readonly file: string; readonly runId: string; readonly reason: string }[]
  /** Files left as they are because they cannot be read now, to be tried again: rights, a full disk, another release's format. */
  readonly skipped: { readonly file: string; readonly runId: string; readonly reason: string }[]
  /** Files whose owners are alive, this process among them. */
  readonly busy: { readonly file: string; readonly runId: string }[]
}

/**
 * Opens the spools of dead owners in a directory, for draining: read, send, trim, close. Leaves files of live runs alone,
 * and removes empty files of dead runs. A directory that does not exist has none.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the directory cannot be read.
 */
export function adoptSpools(options: AdoptOptions): Adoption {
  const found: SpoolTable[] = []
  const adoption: Adoption = { spools: [], damaged: [], skipped: [], busy: [] }
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
  adoption.spools.push(...found)
  return adoption
}

function noteFailure(adoption: Adoption, { file, runId }: { file: string; runId: string }, error: unknown): void {
  if (isBusy(error)) adoption.busy.push({ file, runId })
  else if (error instanceof DamagedFile) adoption.damaged.push({ file: error.aside, runId, reason: error.message })
  else if (error instanceof AuditUnavailableError) adoption.skipped.push({ file, runId, reason: error.message })
  else throw error
}

/** A file that was found damaged and set aside at `aside`. */
class DamagedFile extends Error {
  readonly aside: string

  constructor(aside: string, reason: string) {
    super(reason)
    this.aside = aside
  }
}

function adopt(file: string, runId: string): SpoolTable | undefined {
  const rescued = rescueLog(file)
  let db: Database | undefined
  try {
    db = openDead(file)
    return db && openLocked(db, runId, rescued)
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

/** The spool in a file that is now locked, so that its owner is dead; undefined when it was empty and has been removed. */
function openLocked(db: Database, runId: string, rescued: string | undefined): SpoolTable | undefined {
  const { file } = db
  if (rescued !== undefined) {
    throw new IntegrityError('SPOOL_CORRUPT', `${file} is empty, but its write-ahead log is not`)
  }
  if (!isEmptySpool(db)) return new SpoolTable(db, runId, Number.MAX_SAFE_INTEGER)
  removeSpool(file)
  db.close()
  return undefined
}

/**
 * Once SQLite has the lock of an empty file, it deletes the file's write-ahead log as a leftover. A spool that has a log is
 * never empty while it is undamaged. If the file is empty, its events are in that log, so the log gets a second name before
 * the lock is tried.
 *
 * The log is checked before the file. A new owner makes the file, fills it, and then makes the log. Checked in that order,
 * file then log, an undamaged spool could show an empty file at the first moment and a log at the second.
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

/** Takes the lock of a dead run's file; undefined when the file has been removed. @throws busy, when its owner is alive. */
function openDead(file: string): Database | undefined {
  let db: Database | undefined
  try {
    db = new Database(SPOOL, file, { access: 'existing', busyTimeoutMs: 0, fsync: false })
  } catch (error) {
    if (existsSync(file)) throw error
    return undefined
  }
  if (existsSync(file)) return db
  // Another adopter drained and removed the file after this one had opened it and before it had the lock.
  db.close()
  return undefined
}
