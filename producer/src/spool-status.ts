/** The state of the spools in a directory. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { inspectSpools } from '@agent-audit/spool'
import type { SealStatus, SpoolReport } from '@agent-audit/spool'

/** What waits to be sealed and sent in a spool of a run with a key. */
export type SpoolSealStatus = SealStatus

/** One spool of a directory. */
export interface SpoolStatus extends SpoolReport {
  /** The topic of its records. */
  readonly topic: string
}

/**
 * Reports the spools of all topics in the directory that trails have as `spoolDir`. Changes nothing, and does not open the
 * spools of live runs.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the directory cannot be read.
 */
export function spoolStatus(spoolDir: string): SpoolStatus[] {
  return topicsOf(spoolDir).flatMap((topic) =>
    inspectSpools(join(spoolDir, topic)).map((report) => ({ ...report, topic })),
  )
}

function topicsOf(spoolDir: string): string[] {
  try {
    const entries = readdirSync(spoolDir, { withFileTypes: true })
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).toSorted()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new AuditUnavailableError('SPOOL_UNAVAILABLE', `spool directory ${spoolDir}: ${why}`, { cause: error })
  }
}
