/** The report of completeness for people: the verdict, a line for each partition, then each run with a finding. */
import type {
  Claim,
  CompletenessSummary,
  Conflict,
  PartitionReport,
  Range,
  RecordPosition,
  RunGap,
  RunReport,
} from '@agent-audit/analytics'
import { type Column, table } from './table.ts'
import { counted, figure, type Paint, printable, shortened, shortId } from './text.ts'

const PARTITION_COLUMNS: readonly Column<PartitionReport>[] = [
  { title: 'LOG', value: ({ topic, log_id }) => printable(topic ?? `${log_id} (not registered)`) },
  { title: 'PARTITION', value: (row) => String(row.partition), right: true },
  { title: 'OFFSETS', value: (row) => `${row.first_offset}..${row.last_offset}`, right: true },
  { title: 'EVENTS', value: (row) => figure(row.events), right: true },
  { title: 'DUPLICATES', value: (row) => figure(row.duplicates), right: true },
  { title: 'DEAD LETTERS', value: (row) => figure(row.dead_letters), right: true },
  { title: 'HOLES', value: (row) => figure(row.holes), right: true },
  { title: 'EXPIRED', value: (row) => figure(row.expired), right: true },
  { title: 'MISSING', value: (row) => figure(row.missing), right: true },
  { title: 'REPEATED', value: (row) => figure(row.repeated), right: true },
]
/** Most lines of findings in partitions, of findings in runs, and of open runs; --json has all. */
const SHOWN = 50

/** What the report says of the runs, however many there are. */
export class RunSummary {
  runs = 0
  open = 0
  missing = 0
  repeated = 0
  overstated = 0
  expired = 0
  pending = 0
  lost = 0
  claimed = 0
  /** Runs with a line each: the first open ones. */
  readonly firstOpen: RunReport[] = []
  /** The first findings, and the number of all. */
  readonly findings: string[] = []
  found = 0

  add(run: RunReport): void {
    this.runs++
    this.missing += run.missing
    this.repeated += run.repeated
    this.overstated += run.overstated
    this.expired += run.expired
    this.pending += countOf(run.pending)
    this.lost += countOf(run.lost)
    this.claimed += run.claimed
    if (run.state === 'open') {
      this.open++
      if (this.firstOpen.length < SHOWN) this.firstOpen.push(run)
    }
    const findings = runFindings(run)
    this.found += findings.length
    this.findings.push(...findings.slice(0, SHOWN - this.findings.length))
  }
}

export function completenessReport(report: CompletenessSummary, runs: RunSummary, paint: Paint): string {
  const parts = [
    verdictLine(report, runs, paint),
    report.partitions.length === 0 ? '' : `\n${table(PARTITION_COLUMNS, report.partitions, paint)}`,
    listed(report.partitions.flatMap(partitionFindings)),
    `\n${counted(runs.runs, 'run')}: ${figure(runs.runs - runs.open)} closed, ${figure(runs.open)} open${expiredText(runs)}\n`,
    listed(runs.findings, runs.found),
    openRuns(runs),
    deadLetters(report),
    quarantinedRows(report),
    report.truncated ? '\nthere are more gaps, repeats or dead letters than this report names\n' : '',
  ]
  return parts.join('')
}

function quarantinedRows({ quarantined }: CompletenessSummary): string {
  return quarantined === 0 ? '' : `\n${counted(quarantined, 'row')} in quarantine, not counted above\n`
}

function verdictLine(report: CompletenessSummary, runs: RunSummary, paint: Paint): string {
  const missing = total(report.partitions, 'missing')
  const repeated = total(report.partitions, 'repeated')
  const overstated = total(report.partitions, 'overstated')
  const conflicts = total(report.partitions, 'conflicts')
  const uncompared = total(report.partitions, 'uncompared')
  if (report.partitions.length === 0 && runs.runs === 0) return 'nothing is stored yet\n'
  if (report.verdict === 'complete') {
    const lost = runs.lost === 0 ? '' : `, ${figure(runs.lost)} lost as their own runs say`
    const awaited = runs.pending === 0 ? '' : `, ${figure(runs.pending)} not stored yet`
    const expired = report.expired === 0 ? '' : `, ${counted(report.expired, 'offset')} expired`
    const alone = uncompared === 0 ? '' : `, ${counted(uncompared, 'duplicate')} of expired events not compared`
    return `${paint('green', 'COMPLETE')}  ${counted(report.events, 'event')}, nothing missing, nothing repeated${lost}${awaited}${expired}${alone}\n`
  }
  const found = [
    ...(repeated > 0 ? [`${counted(repeated, 'offset')} stored again`] : []),
    ...(runs.repeated > 0 ? [`${counted(runs.repeated, 'event')} stored again`] : []),
    ...(conflicts > 0 ? [`${counted(conflicts, 'duplicate')} that ${conflicts === 1 ? 'is' : 'are'} no copy`] : []),
    ...(overstated > 0 ? [`${counted(overstated, 'offset')} wrongly noted as expired`] : []),
    ...(runs.overstated > 0 ? [`${counted(runs.overstated, 'event')} wrongly noted as expired`] : []),
    ...(missing > 0 ? [`${counted(missing, 'offset')} missing`] : []),
    ...(runs.missing > 0 ? [`${counted(runs.missing, 'event')} missing`] : []),
    ...(runs.claimed > 0 ? [`${counted(runs.claimed, 'event')} missing for a reason that is only claimed`] : []),
  ]
  return `${paint('red', report.verdict.toUpperCase())}  ${counted(report.events, 'event')}, ${found.join(', ')}\n`
}

function partitionFindings(report: PartitionReport): string[] {
  const name = `${printable(report.topic ?? report.log_id)} partition ${report.partition}`
  const gaps = report.gaps.map((gap) => `${name}: offset ${rangeText(gap)} missing`)
  const repeats = report.repeats.map(
    ({ offset, times, altered }) => `${name}: offset ${offset} stored ${times} times${alteredText(altered)}`,
  )
  const notes = [
    ...(report.overstated > 0
      ? [`${name}: ${counted(report.overstated, 'offset')} wrongly noted as expired: the rows say otherwise`]
      : []),
    ...(report.expiring > 0
      ? [`${name}: ${counted(report.expiring, 'offset')} noted as expired, not dropped yet`]
      : []),
  ]
  const conflicts = report.conflicting.map((conflict) => `${name}: ${conflictText(report, conflict)}`)
  return [...repeats, ...conflicts, ...gaps, ...notes]
}

function conflictText({ log_id, partition }: PartitionReport, conflict: Conflict): string {
  const { run_id, run_seq, offset, stored_offset, found } = conflict
  const about = `offset ${offset} is a duplicate of run ${run_id} run_seq ${run_seq}`
  const shown = `see agent-audit dead-letters show ${positionText({ log_id, partition, offset })}`
  if (found === 'not stored') return `${about}, which is not stored; ${shown}`
  if (found === 'bytes lost') return `${about}, stored at offset ${stored_offset}, and its bytes are not kept`
  return `${about}, stored at offset ${stored_offset} with other content; ${shown}`
}

function runFindings(report: RunReport): string[] {
  const name = `run ${report.run_id} (${shortId(report.producer_id)}, ${report.state})`
  const gaps = report.gaps.map((gap) => `${name}: run_seq ${rangeText(gap)} missing; ${shownText(gap)}`)
  const claims = report.claims.map((claim) => `${name}: run_seq ${rangeText(claim)} not stored; ${claimText(claim)}`)
  const lost = report.lost.map((range) => `${name}: run_seq ${rangeText(range)} lost, as an events_lost event says`)
  const pending = report.pending.map(
    (gap) =>
      `${name}: run_seq ${rangeText(gap)} not stored yet: the consumer lags behind in a partition; ${shownText(gap)}`,
  )
  const repeats = report.repeats.map(({ run_seq, times, altered, positions }) => {
    const at = positions.map(({ partition, offset }) => `${partition}/${offset}`)
    return `${name}: run_seq ${run_seq} stored ${times} times${alteredText(altered)}, at partition/offset ${at.join(', ')}`
  })
  const notes =
    report.overstated > 0
      ? [`${name}: ${counted(report.overstated, 'event')} wrongly noted as expired: the rows say otherwise`]
      : []
  return [...repeats, ...gaps, ...claims, ...lost, ...pending, ...notes]
}

function shownText({ last, shown_by }: RunGap): string {
  return `the event at ${positionText(shown_by)} has the number ${last + 1}`
}

function claimText({ by, by_run, position }: Claim): string {
  const at = position === null ? 'that has expired' : `at ${positionText(position)}`
  if (by === 'dead letter') return `the only explanation is a dead letter ${at}, which seems to be it`
  return `the only explanation is an events_lost event ${at}, of run ${by_run}`
}

/** As `dead-letters show` takes it. */
function positionText({ log_id, partition, offset }: RecordPosition): string {
  return `${log_id}/${partition}/${offset}`
}

function countOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0)
}

function expiredText({ expired }: RunSummary): string {
  return expired === 0 ? '' : `; ${figure(expired)} of their numbers have expired`
}

function openRuns({ open, firstOpen }: RunSummary): string {
  const lines = firstOpen.map(
    (run) => `  open: ${run.run_id} (${shortId(run.producer_id)}), run_seq ${run.first_run_seq}..${run.last_run_seq}\n`,
  )
  if (open > SHOWN) lines.push(`  and ${counted(open - SHOWN, 'more open run', 'more open runs')}\n`)
  if (open > 0) lines.push('  (an open run still works, or crashed: more events may follow its last one)\n')
  return lines.join('')
}

function alteredText(altered: boolean): string {
  return altered ? ' with different content' : ''
}

function deadLetters({ dead_letters: letters }: CompletenessSummary): string {
  if (letters.length === 0) return ''
  const lines = letters.map(({ topic, log_id, partition, offset, reason, replayed_as: event }) => {
    const replay = event === null ? '' : ` (replayed, now at ${event.partition}/${event.offset})`
    return `${printable(topic ?? log_id)} partition ${partition}: offset ${offset}${replay}: ${shortened(reason, 100)}`
  })
  return `\n${counted(letters.length, 'dead letter')} (agent-audit dead-letters)\n${listed(lines)}`
}

/** @param count - Of all findings, where `findings` are the first ones. */
function listed(findings: readonly string[], count = findings.length): string {
  const lines = findings.slice(0, SHOWN).map((finding) => `  ${finding}\n`)
  if (count > SHOWN) lines.push(`  and ${figure(count - SHOWN)} more; --json has all\n`)
  return lines.join('')
}

function rangeText({ first, last }: Range): string {
  return first === last ? String(first) : `${first}..${last} (${figure(last - first + 1)})`
}

function total<Key extends string>(reports: readonly Readonly<Record<Key, number>>[], key: Key): number {
  return reports.reduce((sum, report) => sum + report[key], 0)
}
