/** Events of erasures: where the trust file has keys of erasers, one of them must have signed each. */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import { ERASURE_EVENTS, type ErasureEvent, erasureFault, keysOfRole, type Trust } from '@agent-audit/seals'
import type { Analytics } from '../../connection/clickhouse.ts'
import { IN_RANGE } from '../../queries/log-ranges.ts'
import type { Findings } from '../findings.ts'
import type { PassedPartition } from '../rows/row-pass.ts'

const EVENTS = `
  SELECT event_type, lower(hex(run_id)) AS run_id, run_seq, approver_id, reason, content,
    log_offset, toUnixTimestamp64Milli(log_time) AS log_time_ms
  FROM {database:Identifier}.${EVENTS_TABLE}
  WHERE ${IN_RANGE} AND event_type IN {types:Array(String)}
  ORDER BY log_offset`

interface Row extends ErasureEvent {
  readonly run_seq: number
  readonly log_offset: number
  readonly log_time_ms: number
}

/** A key counts by the time at which the log appended the event, which the consumer's seal covers. */
export async function checkErasures(
  analytics: Analytics,
  { trust, partitions, findings }: { trust: Trust; partitions: readonly PassedPartition[]; findings: Findings },
): Promise<void> {
  if (keysOfRole(trust, 'eraser').length === 0) return
  const schema = { parse: (row: unknown) => row as Row }
  for (const { log, partition, first, last } of partitions) {
    const params = { log, partition, from: first, to: last + 1, types: ERASURE_EVENTS }
    for await (const row of analytics.query(EVENTS, { schema, params })) {
      const fault = erasureFault(row, trust, row.log_time_ms)
      if (fault === undefined) continue
      const at = { run_id: row.run_id, first_offset: row.log_offset, last_offset: row.log_offset }
      const place = { log_id: log, partition, ...at }
      const message = `${row.event_type}: ${fault.why}`
      if (fault.kind === 'forged') findings.add('tampering', 'erasure-forged', message, place)
      else findings.add('incomplete', 'erasure-unsigned', message, place)
    }
  }
}
