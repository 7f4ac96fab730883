/** Makes the spool of a new run. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { createPrivateFile, Database, makeDirectory } from './database.ts'
import type { KnownTopic } from './known-topics.ts'
import { checkTopic, listNames, newSpoolFile, removeSpool, RUN_ID, runIdOf, SPOOL, takeReserve } from './spool-file.ts'
import type { RunSpool } from './spool.ts'
import { SpoolTable } from './spool-table.ts'

export interface RunSpoolOptions {
  /** Made, readable by its owner only, when it is missing. */
  readonly directory: string
  /** 32 hex digits, new for each run. */
  readonly runId: string
  /** The Kafka topic of its records. The file keeps it: an adopter sends them there. */
  readonly topic: string
  /** Most bytes of records not yet acknowledged, as `SpoolStats` counts them. */
  readonly maxBytes: number
  /** Whether each append also survives the loss of power: one fsync an append. */
  readonly fsync: boolean
  /**
   * Its topic as it was last seen, if it was: the file says so at once, and keeps it if the run never reaches a broker.
   * {@link RunSpool.bind} replaces the cluster by the one that the run reaches.
   */
  readonly known?: KnownTopic | undefined
  /** Whether the run may have had spools before, of a delivery that died: their files may still be there. @defaultValue false */
  readonly again?: boolean | undefined
}

/** How long the owner waits for an adopter that looked at its file while it was still empty. */
const OWNER_BUSY_TIMEOUT_MS = 5000
const OPEN_ATTEMPTS = 5

/**
 * Makes the spool of a new run and holds its lock until {@link RunSpool.close} or the end of the process.
 * @throws InvalidInputError `OPTIONS_INVALID`: wrong options, or a run_id that already has a spool in this directory.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE`: the directory or the file cannot be written.
 */
export function openRunSpool(options: RunSpoolOptions): RunSpool {
  const { directory, runId, topic, maxBytes, known, again = false } = options
  checkTopic(topic)
  if (!RUN_ID.test(runId)) {
    throw new InvalidInputError('OPTIONS_INVALID', `runId: expected 32 hex digits in lower case, not "${runId}"`)
  }
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1) {
    throw new InvalidInputError('OPTIONS_INVALID', `maxBytes: expected a whole number from 1, not ${maxBytes}`)
  }
  makeDirectory(SPOOL, directory)
  const present = again ? undefined : listNames(directory).find((name) => runIdOf(name) === runId)
  if (present !== undefined) {
    throw new InvalidInputError('OPTIONS_INVALID', `runId: ${join(directory, present)} exists; a run_id is used once`)
  }
  const db = openNewFile(options)
  try {
    const insert = db.prepare('INSERT INTO run VALUES (?, ?, ?, ?, ?)')
    const { partitions = null, cluster = null } = known ?? {}
    db.use('write', () => insert.run(runId, topic, Date.now(), partitions, cluster))
    if (known === undefined) takeReserve(db.file)
    return new SpoolTable(db, runId, maxBytes, { unbound: true })
  } catch (error) {
    removeSpool(db.file)
    db.close()
    throw error
  }
}

/**
 * An adopter may mistake the new file for that of a dead run. The owner has created the file and not locked it yet; the
 * adopter locks it, finds it empty, removes it and unlocks it; only then does the owner get the lock, on a file without a
 * name, whose records no adopter would find. An adopter removes a file only while it holds the lock. So the owner checks,
 * once it holds the lock, whether the name is still there.
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
