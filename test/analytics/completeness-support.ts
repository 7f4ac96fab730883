/** What the tests of completeness share: rows of a run, and the report on a trail of given rows. */
import { completeness, type Completeness } from '@agent-audit/analytics'
import type { AuditRecord } from '@agent-audit/schemas'
import { EMPTY_RECORD, encodeRecord } from '../support/records.ts'
import { runId, type SeedRow, seedEvents, seedSkipped } from './seed.ts'
import type { TestServer } from './support.ts'

/** Events `first` to `last` of run 1 at the same offsets. */
export function run(first: number, last: number, fields: SeedRow = {}): SeedRow[] {
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    run_seq: first + index,
    log_offset: first + index,
    ...fields,
  }))
}

/**
 * A duplicate of the seeded event that is the only row of its seed, or the first, with its bytes.
 * @param change - Fields of the record that differ from the event.
 */
export function duplicateOf(event: SeedRow, offset: number, change: Partial<AuditRecord> = {}): SeedRow {
  const {
    run_id = runId(1),
    run_seq = 0,
    index = run_seq,
  } = event as { run_id?: string; run_seq?: number; index?: number }
  const record: AuditRecord = {
    ...EMPTY_RECORD,
    run_id: Buffer.from(run_id, 'hex'),
    run_seq,
    producer_id: 'seed',
    session_seq: index,
    retention_class: 'default',
    event_id: `01900000-0000-7000-8000-${index.toString(16).padStart(12, '0')}`,
    timestamp: Date.UTC(2026, 10, 24, 10) * 1000 + 1,
    event_type: 'llm_call',
    session_id: 's1',
    agent_id: 'support',
    step_number: 0,
    requires_approval: false,
    ...change,
  }
  return { kind: 'duplicate', log_offset: offset, run_id, run_seq, value: encodeRecord(record).toString('hex') }
}

/** The content of an events_lost event about another run. */
export function lostOf(run_id: string, first_run_seq: number, last_run_seq: number): SeedRow {
  return { run_id, first_run_seq, last_run_seq, count: last_run_seq - first_run_seq + 1 }
}

/** The report on a new trail that holds these rows only. */
export async function checkNewTrail(
  tests: TestServer,
  events: readonly SeedRow[],
  skipped: readonly SeedRow[] = [],
): Promise<Completeness> {
  const trail = await tests.newTrail()
  await seedEvents(trail.server, events)
  await seedSkipped(trail.server, skipped)
  return completeness(trail)
}
