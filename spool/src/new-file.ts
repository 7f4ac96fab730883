/** Makes and locks a new file for the spool of a run: empty, or with all that another file of it holds. */
import { existsSync } from 'node:fs'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { createPrivateFile, Database, makeDirectory } from './database.ts'
import { copySealTables } from './seal-rows.ts'
import { newSpoolFile, removeSpool, SPOOL, takeReserve } from './spool-file.ts'

export interface NewFileOptions {
  readonly directory: string
  readonly runId: string
  /** Whether each commit also survives the loss of power. */
  readonly fsync: boolean
}

/** How long the owner waits for an adopter that looked at its file while it was still empty. */
const OWNER_BUSY_TIMEOUT_MS = 5000
const OPEN_ATTEMPTS = 5

/**
 * Copies a spool, whose file need not have a name any more. Ids and checksums stay. Each chunk is a commit: those copied so far
 * survive, should the process be killed. Leaves and seals come first: no chunk is in the new file without them.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the disk refuses; then there is no new file.
 */
export function copyToNewFile(from: Database, options: NewFileOptions): Database {
  makeDirectory(SPOOL, options.directory)
  const to = openNewFile(options)
  try {
    const run = from.use('read', () => from.prepare('SELECT * FROM run').get()) ?? {}
    const insertRun = to.prepare('INSERT INTO run VALUES (?, ?, ?, ?, ?)')
    to.transaction('write', () => {
      insertRun.run(...Object.values(run))
      copySealTables(from, to)
    })
    if (run['cluster'] === null) takeReserve(to.file, 'binding')
    const next = from.prepare('SELECT * FROM chunk WHERE id > ? ORDER BY id LIMIT 1')
    const insert = to.prepare('INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
    for (let id: number | undefined = 0; id !== undefined;) {
      const after: number = id
      const row = from.use('read', () => next.get(after))
      if (row !== undefined) to.use('append to', () => insert.run(...Object.values(row)))
      id = row?.['id'] as number | undefined
    }
    return to
  } catch (error) {
    removeSpool(to.file)
    to.close()
    throw error
  }
}

/**
 * An adopter may mistake the new file for that of a dead run. The owner has created the file and not locked it yet; the
 * adopter locks it, finds it empty, removes it and unlocks it; only then does the owner get the lock, on a file without a
 * name, whose records no adopter would find. An adopter removes a file only while it holds the lock. So the owner checks,
 * once it holds the lock, whether the name is still there.
 */
export function openNewFile({ directory, runId, fsync }: NewFileOptions): Database {
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

/** Undefined when the file was removed meanwhile, which SQLite reports in more than one way. */
function tryOpen(file: string, fsync: boolean): Database | undefined {
  try {
    return new Database(SPOOL, file, { access: 'exclusive', busyTimeoutMs: OWNER_BUSY_TIMEOUT_MS, fsync })
  } catch (error) {
    if (!existsSync(file)) return undefined
    // A full disk, for example. If the file stayed, the next try would find it as this run's spool.
    removeSpool(file)
    throw error
  }
}
