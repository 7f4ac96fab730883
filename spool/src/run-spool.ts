/** Makes the spool of a new run. */
import { join } from 'node:path'
import { InvalidInputError } from '@agent-audit/schemas'
import { makeDirectory } from './database.ts'
import type { KnownTopic } from './known-topics.ts'
import { openNewFile } from './new-file.ts'
import { checkTopic, listNames, removeSpool, RUN_ID, runIdOf, SPOOL, takeReserve } from './spool-file.ts'
import { createSealTables } from './seal-rows.ts'
import { keepReserve } from './seal-table.ts'
import type { RunSeals } from './seals.ts'
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
  /** For a run that makes seals: where they stand, and what another file of the run holds of them. @defaultValue no seals */
  readonly seals?: RunSeals | undefined
}

/**
 * Makes the spool of a new run and holds its lock until {@link RunSpool.close} or the end of the process.
 * @throws InvalidInputError `OPTIONS_INVALID`: wrong options, or a run_id that already has a spool in this directory.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE`: the directory or the file cannot be written.
 */
export function openRunSpool(options: RunSpoolOptions): RunSpool {
  const { directory, runId, topic, maxBytes, fsync, known, again = false, seals } = options
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
    const describe = (): unknown => insert.run(runId, topic, Date.now(), partitions, cluster)
    if (seals === undefined) db.use('write', describe)
    else {
      db.transaction('write', () => {
        describe()
        createSealTables(db, seals)
      })
    }
    if (known === undefined) takeReserve(db.file, 'binding')
    if (seals !== undefined) keepReserve(db.file)
    return new SpoolTable(db, runId, maxBytes, { unbound: true, fsync })
  } catch (error) {
    removeSpool(db.file)
    db.close()
    throw error
  }
}
