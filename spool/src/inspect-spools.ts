/** Reports the spools of a directory without changing them. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { IntegrityError, TrailError } from '@agent-audit/schemas'
import { Database, isBusy } from './database.ts'
import { listNames, runIdOf, setAsideRunIdOf, SPOOL } from './spool-file.ts'
import type { SealStatus } from './seals.ts'
import { isEmptySpool } from './spool-rows.ts'
import { SpoolTable } from './spool-table.ts'

export interface SpoolReport {
  /** 32 hex digits. */
  readonly runId: string
  readonly file: string
  /** Id of the cluster that its records are for; null when none was reached, or only the owner knows. */
  readonly cluster: string | null
  /**
   * live: its process holds it. waiting: its process is dead; the next producer on the directory or `spool drain` sends
   * it. damaged: it cannot be read, and an adopter will set it aside. set-aside: it was damaged, or holds records that the
   * broker does not take, and is kept for an operator to look at. unreadable: it cannot be read now.
   */
  readonly state: 'live' | 'waiting' | 'damaged' | 'set-aside' | 'unreadable'
  /** Size of the file and its write-ahead log, bytes. */
  readonly fileBytes: number
  /** Records not acknowledged; null when only the owner knows. */
  readonly records: number | null
  /** When the oldest of them was appended, milliseconds since 1970. */
  readonly oldestMs: number | null
  /** Its seals; null when the run makes none, or only the owner knows. */
  readonly seals: SealStatus | null
  /** Why it is damaged or unreadable. */
  readonly reason: string | null
}

/**
 * Reports every spool in a directory, by name. A directory that does not exist has none.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the directory cannot be read.
 */
export function inspectSpools(directory: string): SpoolReport[] {
  return listNames(directory)
    .toSorted()
    .flatMap((name) => {
      const file = join(directory, name)
      const runId = runIdOf(name)
      if (runId !== undefined) return inspect(file, runId)
      const aside = setAsideRunIdOf(name)
      return aside === undefined ? [] : report({ runId: aside, file }, 'set-aside')
    })
}

function inspect(file: string, runId: string): SpoolReport {
  let db: Database | undefined
  try {
    // SQLite would delete its write-ahead log once it has the lock: see adopt-spools.ts.
    if (sizeOf(`${file}-wal`) > 0 && sizeOf(file) === 0) return report({ runId, file }, 'damaged', 'it is empty')
    db = new Database(SPOOL, file, { access: 'existing', busyTimeoutMs: 0, fsync: false })
    if (isEmptySpool(db)) return { ...report({ runId, file }, 'waiting'), records: 0 }
    const table = new SpoolTable(db, runId, Number.MAX_SAFE_INTEGER)
    const { records, oldestMs } = table.stats()
    const seals = table.seals?.status() ?? null
    return { ...report({ runId, file }, 'waiting'), cluster: table.cluster ?? null, records, oldestMs, seals }
  } catch (error) {
    if (isBusy(error)) return report({ runId, file }, 'live')
    if (!(error instanceof TrailError)) throw error
    return report({ runId, file }, error instanceof IntegrityError ? 'damaged' : 'unreadable', error.message)
  } finally {
    db?.close()
  }
}

function report(of: { runId: string; file: string }, state: SpoolReport['state'], reason?: string): SpoolReport {
  const fileBytes = sizeOf(of.file) + sizeOf(`${of.file}-wal`)
  return { ...of, state, fileBytes, cluster: null, records: null, oldestMs: null, seals: null, reason: reason ?? null }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}
