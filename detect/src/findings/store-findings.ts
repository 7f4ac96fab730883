/** Stores findings: each cause once, whichever worker finds it and however often. */
import type { Analytics } from '@agent-audit/analytics'
import { askInChunks } from '@agent-audit/schemas'
import type { NewFinding } from './finding-id.ts'

/** Inserts at a time: each is a part of its own, synced to the disk. */
const AT_ONCE = 4

/**
 * Stores the findings that are not stored yet.
 *
 * Two workers may both find that a cause is new. Each finding is an insert of its own, whose deduplication token is its id: the
 * server stores one of the two, as long as fewer than 10,000 other inserts come between them. A worker that is killed between
 * insert and cursor finds the cause again, and sees that it is stored.
 * @returns Those that this call inserted.
 * @throws TrailError as {@link Analytics.rows}; some may be stored then.
 */
export async function storeFindings(
  analytics: Analytics,
  run: string,
  findings: Iterable<NewFinding>,
): Promise<NewFinding[]> {
  const byId = new Map<string, NewFinding>()
  for (const finding of findings) if (!byId.has(finding.finding_id)) byId.set(finding.finding_id, finding)
  for (const id of await storedIds(analytics, [...byId.keys()])) byId.delete(id)
  const added = [...byId.values()]
  const waiting = added.values()
  const work = async (): Promise<void> => {
    for (const finding of waiting) await insert(analytics, run, finding)
  }
  const done = await Promise.allSettled(Array.from({ length: AT_ONCE }, work))
  const failed = done.find((each) => each.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  return added
}

async function storedIds(analytics: Analytics, ids: readonly string[]): Promise<string[]> {
  const rows = await askInChunks(ids, (chunk) =>
    analytics.rows<{ id: string }>(
      `SELECT DISTINCT toString(finding_id) AS id FROM {database:Identifier}.audit_findings
       WHERE finding_id IN {ids:Array(UUID)}`,
      { ids: chunk },
    ),
  )
  return rows.map(({ id }) => id)
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

async function insert(analytics: Analytics, run: string, finding: NewFinding): Promise<void> {
  // A setting takes no parameter: the id is hex digits, made here.
  if (!ID.test(finding.finding_id)) throw new Error('a finding id has another form')
  await analytics.command(
    `INSERT INTO {database:Identifier}.audit_findings (finding_id, detector, version, cause, severity, score, agent_id,
       session_id, summary, signals, evidence, thresholds, run)
     SETTINGS insert_deduplicate = 1, insert_deduplication_token = '${finding.finding_id}'
     SELECT {finding_id:UUID}, {detector:String}, {version:UInt32}, {cause:String}, {severity:String}, {score:Float64},
       {agent_id:String}, {session_id:Nullable(String)}, {summary:String}, {signals:String}, {evidence:Array(UUID)},
       {thresholds:String}, {run:UUID}`,
    {
      ...finding,
      signals: JSON.stringify(finding.signals),
      evidence: finding.evidence,
      thresholds: JSON.stringify(finding.thresholds),
      run,
    },
  )
}
