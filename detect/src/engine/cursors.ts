/** Where each detector stands, and what each run did, in tables that are only inserted into. */
import type { Analytics } from '@agent-audit/analytics'
import type { Positions } from './final-log.ts'

/** Where detectors stand. One that has never run is missing. */
export async function loadCursors(analytics: Analytics): Promise<Map<string, Map<string, number>>> {
  const rows = await analytics.rows<{ detector: string; place: string; next: string }>(
    `SELECT detector, concat(lower(hex(log_id)), '/', toString(log_partition)) AS place, toString(max(log_offset)) AS next
     FROM {database:Identifier}.audit_detector_cursors GROUP BY detector, log_id, log_partition`,
  )
  const cursors = new Map<string, Map<string, number>>()
  for (const { detector, place, next } of rows) {
    const positions = cursors.get(detector) ?? new Map<string, number>()
    cursors.set(detector, positions.set(place, Number(next)))
  }
  return cursors
}

/** Called once all findings below these positions are stored. */
export async function saveCursors(
  analytics: Analytics,
  detectors: readonly string[],
  positions: Positions,
): Promise<void> {
  if (detectors.length === 0 || positions.size === 0) return
  const places = [...positions.keys()].map((place) => place.split('/'))
  await analytics.command(
    `INSERT INTO {database:Identifier}.audit_detector_cursors (detector, log_id, log_partition, log_offset)
     SELECT detector, unhex(place.1), place.2, place.3
     FROM (SELECT arrayJoin({detectors:Array(String)}) AS detector) AS d
     CROSS JOIN (
       SELECT arrayJoin(arrayZip({logs:Array(String)}, {partitions:Array(Int32)}, {offsets:Array(Int64)})) AS place) AS p`,
    {
      detectors,
      logs: places.map(([log]) => log),
      partitions: places.map(([, partition]) => Number(partition)),
      offsets: [...positions.values()],
    },
  )
}

export interface RunRecord {
  readonly run: string
  readonly detectors: readonly string[]
  readonly failed: readonly string[]
  readonly events: number
  readonly sessions: number
  readonly findings: number
  readonly tookMs: number
}

export async function saveRun(analytics: Analytics, record: RunRecord): Promise<void> {
  await analytics.command(
    `INSERT INTO {database:Identifier}.audit_detector_runs (run, detectors, failed, events, sessions, findings, took_ms)
     SELECT {run:UUID}, {detectors:Array(String)}, {failed:Array(String)}, {events:UInt64}, {sessions:UInt64},
       {findings:UInt64}, {tookMs:UInt32}`,
    { ...record },
  )
}
