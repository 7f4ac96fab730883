/**
 * Finds the spools of dead runs. Whether a run is dead is told by the lock on its file alone: it is held while its
 * process runs or is stopped, and free once it is gone. A pid could have been given to another process since.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { Database, isBusy, unavailable } from './database.ts'
import type { AdoptedSpool } from './run-spool.ts'
import { runIdOf, setAside, SPOOL } from './spool-file.ts'
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
  readonly damaged: { readonly file: string; readonly reason: string }[]
  /** Files left as they are because they cannot be read now: rights, a full disk, a later release's format. */
  readonly skipped: { readonly file: string; readonly reason: string }[]
}

/**
 * Opens the spools in a directory whose owner is dead, for draining: read, send, trim, close. Files of live runs are
 * left alone; empty ones of dead runs are removed. A directory that does not exist has none.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the directory cannot be read.
 */
export function adoptSpools(options: AdoptOptions): Adoption {
  const found: { spool: AdoptedSpool; createdMs: number }[] = []
  const adoption: Adoption = { spools: [], damaged: [], skipped: [] }
  for (const name of listNames(options.directory)) {
    const runId = runIdOf(name)
    if (runId === undefined || runId === options.except) continue
    const file = join(options.directory, name)
    try {
      const adopted = adopt(file, runId)
      if (adopted !== undefined) found.push(adopted)
    } catch (error) {
      noteFailure(adoption, file, error)
    }
  }
  found.sort((one, other) => one.createdMs - other.createdMs)
  adoption.spools.push(...found.map((entry) => entry.spool))
  return adoption
}

function noteFailure(adoption: Adoption, file: string, error: unknown): void {
  if (isBusy(error)) return // Its owner lives.
  if (error instanceof DamagedFile) adoption.damaged.push({ file: error.aside, reason: error.message })
  else if (error instanceof AuditUnavailableError) adoption.skipped.push({ file, reason: error.message })
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

function listNames(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw unavailable(SPOOL, `list ${directory}`, error)
  }
}

function adopt(file: string, runId: string): { spool: AdoptedSpool; createdMs: number } | undefined {
  let db: Database | undefined
  try {
    refuseLostHead(file)
    db = openDead(file)
    if (db === undefined) return undefined
    const spool = new SpoolTable(db, runId, Number.MAX_SAFE_INTEGER)
    if (spool.stats().chunks === 0) {
      spool.close() // Which removes it.
      return undefined
    }
    const run = ownerOf(db)
    if (run?.run_id !== runId) throw new IntegrityError('SPOOL_CORRUPT', `${file} belongs to run ${run?.run_id}`)
    return { spool, createdMs: run.created_ms }
  } catch (error) {
    if (!(error instanceof IntegrityError)) {
      db?.close()
      throw error
    }
    const aside = setAside(file, db)
    if (aside === undefined) return undefined // Another process has set it aside first, and reports it.
    throw new DamagedFile(aside, error.message)
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

/** SQLite deletes the write-ahead log of an empty file as a leftover; ours is never empty once it has a log. */
function refuseLostHead(file: string): void {
  if (sizeOf(file) === 0 && sizeOf(`${file}-wal`) > 0) {
    throw new IntegrityError('SPOOL_CORRUPT', `${file} is empty, but its write-ahead log is not`)
  }
}

/** Takes the lock of a dead run's file; undefined when the file is gone. @throws busy, when its owner lives. */
function openDead(file: string): Database | undefined {
  let db: Database | undefined
  try {
    db = new Database(SPOOL, file, { access: 'exclusive', busyTimeoutMs: 0, fsync: false })
  } catch (error) {
    if (existsSync(file)) throw error
    return undefined
  }
  if (existsSync(file)) return db
  // Another adopter drained and removed it between our opening and locking it.
  db.close()
  return undefined
}

function ownerOf(db: Database): { run_id: string; created_ms: number } | undefined {
  const statement = db.prepare('SELECT run_id, created_ms FROM run')
  return db.use('read', () => statement.get() as { run_id: string; created_ms: number } | undefined)
}
