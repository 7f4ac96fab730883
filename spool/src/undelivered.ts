/**
 * Keeps records that the broker will never take as they are. The file is a spool under a name that no adopter opens: once the
 * cause is corrected, an operator takes `.undelivered-<time>` off the name, and the next owner sends its records.
 */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { chunkOfRecord } from './chunk.ts'
import type { Chunk } from './chunk.ts'
import { createPrivateFile, Database, makeDirectory } from './database.ts'
import { newUndeliveredFile, removeSpool, SPOOL } from './spool-file.ts'
import type { AdoptedSpool } from './spool.ts'
import { SpoolTable } from './spool-table.ts'

export interface Undelivered {
  /** The spool that the records are in. */
  readonly spool: Pick<AdoptedSpool, 'file' | 'runId' | 'topic' | 'cluster'>
  readonly chunk: Chunk
  /** The records, as indexes in the chunk, rising. */
  readonly indexes: readonly number[]
  /** A file of an earlier call for the same spool, to be used again. */
  readonly present?: string | undefined
}

/**
 * Writes the records, which survive the loss of power once it has returned.
 * @returns Path of the file: `present`, unless that file has later records.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the disk refuses: call it again.
 */
export function keepUndelivered(undelivered: Undelivered): string {
  const { spool, chunk, indexes, present } = undelivered
  const firstSeq = chunk.firstSeq + (indexes[0] ?? 0)
  if (present !== undefined && existsSync(present) && appendTo(present, undelivered, firstSeq)) return present
  const file = newUndeliveredFile(dirname(spool.file), spool.runId)
  makeDirectory(SPOOL, dirname(file))
  createPrivateFile(SPOOL, file)
  try {
    appendTo(file, undelivered, firstSeq)
    return file
  } catch (error) {
    removeSpool(file)
    throw error
  }
}

/** @returns false when the file has records after `firstSeq`: a spool is in order. */
function appendTo(file: string, { spool, chunk, indexes }: Undelivered, firstSeq: number): boolean {
  const db = new Database(SPOOL, file, { access: 'exclusive', busyTimeoutMs: 0, fsync: true })
  try {
    const run = db.prepare('INSERT INTO run SELECT ?, ?, ?, NULL, ? WHERE NOT EXISTS (SELECT * FROM run)')
    db.use('write', () => run.run(spool.runId, spool.topic, Date.now(), spool.cluster ?? null))
    const table = new SpoolTable(db, spool.runId, Number.MAX_SAFE_INTEGER)
    if (table.runSeqs.last >= firstSeq) return false
    for (const index of indexes) table.append(chunkOfRecord(chunk, index))
    return true
  } finally {
    db.close()
  }
}
