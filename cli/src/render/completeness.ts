/** The report of completeness for people: the verdict, a line for each partition, then each run with a finding. */
import type { Completeness, PartitionReport, Range, RunReport } from '@agent-audit/analytics'
import { type Column, table } from './table.ts'
import { counted, figure, type Paint, printable, shortened } from './text.ts'

const PARTITION_COLUMNS: readonly Column<PartitionReport>[] = [
  { title: 'LOG', value: ({ topic, log_id }) => printable(topic ?? `${log_id} (not registered)`) },
  { title: 'PARTITION', value: (row) => String(row.partition), right: true },
  { title: 'OFFSETS', value: (row) => `${row.first_offset}..${row.last_offset}`, right: true },
  { title: 'EVENTS', value: (row) => figure(row.events), right: true },
  { title: 'DUPLICATES', value: (row) => figure(row.duplicates), right: true },
  { title: 'DEAD LETTERS', value: (row) => figure(row.dead_letters), right: true },
  { title: 'HOLES', value: (row) => figure(row.holes), right: true },
  { title: 'MISSING', value: (row) => figure(row.missing), right: true },
  { title: 'REPEATED', value: (row) => figure(row.repeated), right: true },
]
/** Most lines of findings in partitions, of findings in runs, and of open runs; --json has all. */
const SHOWN = 50

export function completenessReport(report: Completeness, paint: Paint): string {
  const open = report.runs.filter(({ state }) => state === 'open')
  const parts = [
    verdictLine(report, paint),
    report.partitions.length === 0 ? '' : `\n${table(PARTITION_COLUMNS, report.partitions, paint)}`,
    listed(report.partitions.flatMap(partitionFindings)),
    `\n${counted(report.runs.length, 'run')}: ${figure(report.runs.length - open.length)} closed, ${figure(open.length)} open\n`,
    listed(report.runs.flatMap(runFindings)),
    openRuns(open),
    deadLetters(report),
    report.truncated ? '\nthere are more gaps, repeats or dead letters than this report names\n' : '',
  ]
  return parts.join('')
}

function verdictLine(report: Completeness, paint: Paint): string {
  const missing = total(report.partitions, 'missing')
  const repeated = total(report.partitions, 'repeated')
  const runMissing = total(report.runs, 'missing')
  const runRepeated = total(report.runs, 'repeated')
  if (report.partitions.length === 0 && report.runs.length === 0) return 'nothing is stored yet\n'
  if (report.verdict === 'complete') {
    const pending = report.runs
      .flatMap((run) => run.pending)
      .reduce((sum, { first, last }) => sum + last - first + 1, 0)
    const awaited = pending === 0 ? '' : `, ${figure(pending)} not stored yet`
    return `${paint('green', 'COMPLETE')}  ${counted(report.events, 'event')}, nothing missing, nothing repeated${awaited}\n`
  }
  const found = [
    ...(repeated > 0 ? [`${counted(repeated, 'offset')} stored again`] : []),
    ...(runRepeated > 0 ? [`${counted(runRepeated, 'event')} stored again`] : []),
    ...(missing > 0 ? [`${counted(missing, 'offset')} missing`] : []),
    ...(runMissing > 0 ? [`${counted(runMissing, 'event')} missing`] : []),
  ]
  return `${paint('red', report.verdict.toUpperCase())}  ${counted(report.events, 'event')}, ${found.join(', ')}\n`
}

function partitionFindings(report: PartitionReport): string[] {
  const name = `${printable(report.topic ?? report.log_id)} partition ${report.partition}`
  const gaps = report.gaps.map((gap) => `${name}: offset ${rangeText(gap)} missing`)
  const repeats = report.repeats.map(
    ({ offset, times, altered }) => `${name}: offset ${offset} stored ${times} times${alteredText(altered)}`,
  )
  return [...repeats, ...gaps]
}

function runFindings(report: RunReport): string[] {
  const name = `run ${report.run_id} (${printable(report.producer_id)}, ${report.state})`
  const gaps = report.gaps.map((gap) => `${name}: run_seq ${rangeText(gap)} missing`)
  const lost = report.lost.map((range) => `${name}: run_seq ${rangeText(range)} lost, as an events_lost event says`)
  const pending = report.pending.map(
    (range) => `${name}: run_seq ${rangeText(range)} not stored yet: the consumer lags behind in a partition`,
  )
  const repeats = report.repeats.map(({ run_seq, times, altered, positions }) => {
    const at = positions.map(({ partition, offset }) => `${partition}/${offset}`)
    return `${name}: run_seq ${run_seq} stored ${times} times${alteredText(altered)}, at partition/offset ${at.join(', ')}`
  })
  return [...repeats, ...gaps, ...lost, ...pending]
}

function openRuns(open: readonly RunReport[]): string {
  const lines = open
    .slice(0, SHOWN)
    .map(
      (run) =>
        `  open: ${run.run_id} (${printable(run.producer_id)}), run_seq ${run.first_run_seq}..${run.last_run_seq}\n`,
    )
  if (open.length > SHOWN) lines.push(`  and ${counted(open.length - SHOWN, 'more open run', 'more open runs')}\n`)
  if (open.length > 0) lines.push('  (an open run still works, or crashed: more events may follow its last one)\n')
  return lines.join('')
}

function alteredText(altered: boolean): string {
  return altered ? ' with different content' : ''
}

function deadLetters({ dead_letters: letters }: Completeness): string {
  if (letters.length === 0) return ''
  const lines = letters.map(({ topic, log_id, partition, offset, reason, replayed_as: event }) => {
    const replay = event === null ? '' : ` (replayed, now at ${event.partition}/${event.offset})`
    return `${printable(topic ?? log_id)} partition ${partition}: offset ${offset}${replay}: ${shortened(reason, 100)}`
  })
  return `\n${counted(letters.length, 'dead letter')} (agent-audit dead-letters)\n${listed(lines)}`
}

function listed(findings: readonly string[]): string {
  const lines = findings.slice(0, SHOWN).map((finding) => `  ${finding}\n`)
  if (findings.length > SHOWN) lines.push(`  and ${figure(findings.length - SHOWN)} more; --json has all\n`)
  return lines.join('')
}

function rangeText({ first, last }: Range): string {
  return first === last ? String(first) : `${first}..${last} (${figure(last - first + 1)})`
}

function total<Key extends string>(reports: readonly Readonly<Record<Key, number>>[], key: Key): number {
  return reports.reduce((sum, report) => sum + report[key], 0)
}
