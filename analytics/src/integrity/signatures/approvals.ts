/** Whether the signatures of decisions, overrides and calls are those of approvers whom the trust file names. */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import { keysOfRole, type Trust } from '@agent-audit/seals'
import type { Analytics } from '../../connection/clickhouse.ts'
import { number, type Row, text } from '../../connection/rows.ts'
import { IN_RANGE } from '../../queries/log-ranges.ts'
import { textIn } from '../../why/fields.ts'
import { faultOfSignature, judgeSignature, type SignedRecord } from './approval-signature.ts'
import type { Findings, Place } from '../findings.ts'
import type { PassedPartition } from '../rows/row-pass.ts'

/** A decision that a guard refused is on record as well: it did not count. */
const DECISIONS = `
  SELECT log_offset, lower(hex(run_id)) AS run, run_seq, producer_id, session_id, event_type, tool_name,
    lower(hex(arguments_sha256)) AS arguments, approval_status, approver_id, on_behalf_of, toString(approval_id) AS id, approval,
    toUnixTimestamp64Milli(log_time) AS stored
  FROM {database:Identifier}.${EVENTS_TABLE}
  WHERE ${IN_RANGE} AND ifNull(outcome, '') NOT IN ('denied', 'blocked', 'error')
    AND (event_type IN ('approval_decision', 'human_intervention') AND approval IS NOT NULL
      OR event_type = 'tool_call' AND JSONHas(approval, 'signature'))
  ORDER BY log_offset`
const ROW = { parse: (row: unknown): Row => row as Row }

/** @returns what was not checked, if any. */
export async function checkApprovals(
  analytics: Analytics,
  { trust, partitions, findings }: { trust: Trust; partitions: readonly PassedPartition[]; findings: Findings },
): Promise<string | undefined> {
  const hasApprovers = keysOfRole(trust, 'approver').length > 0
  const unchecked = { none: 0, redacted: 0, hidden: 0, 'no approver': 0 }
  for (const { log, partition, first, last } of partitions) {
    const params = { log, partition, from: first, to: last + 1 }
    for await (const row of analytics.query(DECISIONS, { schema: ROW, params })) {
      const found = judgeSignature(recordOf(row), hasApprovers ? trust : undefined)
      const place = { log_id: log, partition, ...placeOf(row) }
      const fault = faultOfSignature(found)
      if (fault !== undefined) findings.add('tampering', 'approval-forged', fault, place)
      if (found.kind === 'unverified') unchecked['no approver']++
      else if (found.kind in unchecked) unchecked[found.kind as keyof typeof unchecked]++
    }
  }
  if (!hasApprovers && unchecked['no approver'] === 0) return undefined
  const said = [
    ...(unchecked['no approver'] > 0 ? [`${unchecked['no approver']} are signed: the trust file has no approver`] : []),
    ...(hasApprovers && unchecked.none > 0
      ? [`${unchecked.none} are not signed, though the trust file has approvers`]
      : []),
    ...(unchecked.redacted > 0 ? [`redaction has removed the signature of ${unchecked.redacted}`] : []),
    ...(unchecked.hidden > 0 ? [`the signature of ${unchecked.hidden} is encrypted`] : []),
  ]
  return said.length === 0 ? undefined : `approvals and overrides: ${said.join('; ')}`
}

function recordOf(row: Row): SignedRecord {
  const textOrNull = (key: string): string | null => (row[key] === null ? null : text(row, key))
  const approval = objectIn(textOrNull('approval'))
  return {
    event_type: text(row, 'event_type'),
    session_id: text(row, 'session_id'),
    signature: textIn(approval, 'signature'),
    tool_name: textOrNull('tool_name'),
    arguments_sha256: textOrNull('arguments'),
    status: textOrNull('approval_status'),
    approver_kind: textIn(approval, 'approver_kind'),
    approver_id: textOrNull('approver_id'),
    identity_source: textIn(approval, 'identity_source'),
    shown_sha256: textIn(approval, 'shown_sha256'),
    approval_id: textOrNull('id'),
    on_behalf_of: textOrNull('on_behalf_of'),
    // Where digests are keyed, the signature is encrypted, and it is read here as it is stored.
    keyed_digests: false,
    log_time: new Date(number(row, 'stored')).toISOString(),
  }
}

/** Another producer may have written any text. */
function objectIn(json: string | null): unknown {
  try {
    return json === null ? null : JSON.parse(json)
  } catch {
    return null
  }
}

function placeOf(row: Row): Place {
  const [offset, seq] = [number(row, 'log_offset'), number(row, 'run_seq')]
  const run = { run_id: text(row, 'run'), producer_id: text(row, 'producer_id'), first_run_seq: seq, last_run_seq: seq }
  return { ...run, first_offset: offset, last_offset: offset }
}
