/** The metrics of one run of `verify`. */
import type { CompletenessSummary, Integrity } from '@agent-audit/analytics'
import type { FileMetric } from '../metrics-file.ts'
import type { RunSummary } from '../render/completeness.ts'

export interface VerifyOutcome {
  readonly exitCode: number
  /** Since 1970, milliseconds. */
  readonly startedAt: number
  /** Undefined: the check did not come to its end. */
  readonly summary: CompletenessSummary | undefined
  readonly runs: RunSummary
  /** Undefined: no seals were checked. */
  readonly report?: Integrity | undefined
}

export function verifyMetrics({ exitCode, startedAt, summary, runs, report }: VerifyOutcome): FileMetric[] {
  const now = Date.now()
  const ended = [
    one('audit_verify_last_run_timestamp_seconds', 'When verify ended last, seconds since 1970.', now / 1000),
    one('audit_verify_last_duration_seconds', 'How long it took, seconds.', (now - startedAt) / 1000),
    one('audit_verify_last_exit_code', 'Its exit code: 0 complete, 2 gaps; docs/errors.md has all.', exitCode),
    ...(report === undefined ? [] : sealMetrics(report)),
  ]
  if (summary === undefined) return ended
  const help = 'What it found, by kind: offsets of the log and events of runs, each counted on its own.'
  const samples = Object.entries(foundIn(summary, runs)).map(([kind, value]) => ({ labels: { kind }, value }))
  return [
    ...ended,
    one('audit_verify_events', 'Events that are stored.', summary.events),
    { name: 'audit_verify_found', help, samples },
  ]
}

function sealMetrics({ events, counts, seals, from }: Integrity): FileMetric[] {
  const help = 'Findings of the check of the seals, by severity.'
  const samples = Object.entries(counts).map(([severity, value]) => ({ labels: { severity }, value }))
  const read = one('audit_verify_read_events', 'Events that it read: those of an increment, or all.', events)
  const whole = one('audit_verify_increment', '1: it went on from what was verified before.', from === null ? 0 : 1)
  const found = { name: 'audit_verify_findings', help, samples }
  if (seals.anchored_at_ms === null) return [found, read, whole]
  const at = 'Time of the newest checkpoint that it held the seals against, seconds since 1970.'
  return [found, read, whole, one('audit_verify_checkpoint_timestamp_seconds', at, seals.anchored_at_ms / 1000)]
}

function one(name: string, help: string, value: number): FileMetric {
  return { name, help, samples: [{ value }] }
}

function foundIn({ partitions, skipped, quarantined }: CompletenessSummary, runs: RunSummary): Record<string, number> {
  const sum = (key: 'missing' | 'repeated' | 'overstated' | 'conflicts'): number =>
    partitions.reduce((total, report) => total + report[key], 0)
  return {
    missing_offsets: sum('missing'),
    missing_events: runs.missing,
    repeated_offsets: sum('repeated'),
    repeated_events: runs.repeated,
    overstated_offsets: sum('overstated'),
    overstated_events: runs.overstated,
    conflicts: sum('conflicts'),
    claimed_events: runs.claimed,
    lost_events: runs.lost,
    pending_events: runs.pending,
    dead_letters: skipped.dead,
    quarantined_rows: quarantined,
  }
}
