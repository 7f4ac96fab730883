/** Names the sessions of the rows at the places of findings. */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { type Row, text } from '../connection/rows.ts'
import type { Finding } from './findings.ts'

const MAX_ASKED = 100
const AT_OFFSETS = `
  SELECT DISTINCT session_id FROM {database:Identifier}.${EVENTS_TABLE}
  WHERE log_id = unhex({log_id:String}) AND log_partition = {partition:Int32}
    AND log_offset BETWEEN {first_offset:Int64} AND {last_offset:Int64}
  LIMIT 20`
const OF_RUN = `
  SELECT DISTINCT session_id FROM {database:Identifier}.${EVENTS_TABLE}
  WHERE run_id = toFixedString(unhex({run_id:String}), 16) AND run_seq BETWEEN {first_run_seq:Int64} AND {last_run_seq:Int64}
  LIMIT 20`

export async function nameSessions(analytics: Analytics, findings: readonly Finding[]): Promise<Finding[]> {
  const named: Finding[] = []
  for (const [index, finding] of findings.entries()) {
    const query =
      finding.first_offset !== undefined ? AT_OFFSETS : finding.first_run_seq !== undefined ? OF_RUN : undefined
    if (query === undefined || index >= MAX_ASKED) {
      named.push(finding)
      continue
    }
    const { severity: _, code: __, message: ___, ...place } = finding
    const rows = await analytics.rows<Row>(query, place)
    const sessions = rows.map((row) => text(row, 'session_id')).toSorted()
    named.push(sessions.length === 0 ? finding : { ...finding, sessions })
  }
  return named
}
