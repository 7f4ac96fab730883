/** Findings for people. All of their text may be recorded text. */
import type { TrailEvent } from '@agent-audit/analytics'
import type * as Detect from '@agent-audit/detect'
import { lagText } from './event-line.ts'
import { describeEvent } from './event-text.ts'
import { type Column, padded, table } from './table.ts'
import { counted, dayAndTime, type Paint, printable, shortened, shortId } from './text.ts'

const SUMMARY_LENGTH = 100
const TEXT_LENGTH = 160
const MOST_EVENTS = 20

const COLUMNS: readonly Column<Detect.StoredFinding>[] = [
  { title: 'FINDING', value: (row) => row.finding_id },
  { title: 'FOUND (UTC)', value: (row) => dayAndTime(row.found_at) },
  { title: 'SEVERITY', value: (row) => row.severity },
  { title: 'STATE', value: (row) => row.state },
  { title: 'DETECTOR', value: (row) => shortened(row.detector, 40) },
  { title: 'AGENT', value: (row) => shortId(row.agent_id) },
  { title: 'SUMMARY', value: (row) => shortened(row.summary, SUMMARY_LENGTH) },
]

export function findingList(found: readonly Detect.StoredFinding[], paint: Paint): string {
  return table(COLUMNS, found, paint)
}

const STYLES = { info: 'dim', low: 'dim', medium: 'yellow', high: 'red', critical: 'red' } as const
/** Longest name in a line, characters. */
const NAME_LENGTH = 24
const WIDTHS = { lag: 7, severity: 8, detector: 24, agent: 12 }

/** @returns Without a line break. */
export function findingLine(
  finding: Detect.StoredFinding,
  { lagMs, behind, paint }: { readonly lagMs: number; readonly behind: number; readonly paint: Paint },
): string {
  const { severity, detector, agent_id: agent, summary, finding_id: id } = finding
  const parts = [
    paint('dim', finding.found_at.slice(0, 23).replace('T', ' ')),
    paint('dim', padded(`+${lagText(lagMs)}`, WIDTHS.lag, true)),
    paint(STYLES[severity], padded(severity, WIDTHS.severity)),
    padded(shortened(detector, NAME_LENGTH), WIDTHS.detector),
    padded(shortened(agent, NAME_LENGTH), WIDTHS.agent),
    shortened(summary, TEXT_LENGTH),
    paint('dim', id),
    ...(behind > 0 ? [paint('dim', `(${counted(behind, 'finding')} behind)`)] : []),
  ]
  return parts.join('  ')
}

type About = Pick<Detect.Detector, 'name' | 'version' | 'finds' | 'method' | 'source' | 'thresholds'>

export function detectorList(detectors: readonly About[], paint: Paint): string {
  return detectors
    .map(
      (each) =>
        `${paint('bold', printable(each.name))} ${paint('dim', `version ${each.version}`)}\n  ${printable(each.finds)}\n` +
        `  how: ${printable(each.method)}\n  source: ${printable(each.source)}\n  thresholds: ${thresholdsText(each.thresholds)}\n`,
    )
    .join('\n')
}

export interface Explained {
  /** Undefined: a detector that is not known here. */
  readonly about: Pick<Detect.Detector, 'finds' | 'method' | 'source'> | undefined
  readonly events: readonly TrailEvent[]
  readonly paint: Paint
}

export function findingPage(finding: Detect.StoredFinding, { about, events, paint }: Explained): string {
  const { severity, score, detector, version, agent_id, session_id, state } = finding
  const where = session_id === null ? '' : `, session ${shortId(session_id)}`
  const decided =
    finding.decided_by === null
      ? ''
      : ` by ${printable(finding.decided_by)}: ${printable(finding.decision_reason ?? '')}`
  const lines = [
    paint('bold', printable(finding.summary)),
    `${severity}, score ${score.toFixed(2)}, ${state}${decided}`,
    `agent ${shortId(agent_id)}${where}`,
    `found ${dayAndTime(finding.found_at)} UTC by ${printable(detector)}, version ${version}; ${finding.finding_id}`,
    '',
    ...(about === undefined
      ? ['its detector is not known here: --module names where it is']
      : [printable(about.finds), `how: ${printable(about.method)}`, `source: ${printable(about.source)}`]),
    `thresholds: ${thresholdsText(finding.thresholds)}`,
    ...signalLines(finding, paint),
    ...eventLines(finding, events, paint),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function signalLines({ signals }: Detect.StoredFinding, paint: Paint): string[] {
  if (signals.length === 0) return []
  const rows = table<Detect.Signal>(
    [
      { title: 'SIGNAL', value: ({ name }) => shortened(name, 40) },
      { title: 'VALUE', value: ({ value }) => shortened(String(value), TEXT_LENGTH) },
      { title: 'EXPECTED', value: ({ expected }) => shortened(String(expected ?? '-'), 60) },
      { title: 'EVENT', value: ({ event_id: id }) => shortened(id ?? '-', 36) },
    ],
    signals,
    paint,
  )
  return ['', ...rows.trimEnd().split('\n')]
}

function eventLines({ evidence }: Detect.StoredFinding, events: readonly TrailEvent[], paint: Paint): string[] {
  if (evidence.length === 0) return []
  const rows = table<TrailEvent>(
    [
      { title: 'EVENT', value: ({ event_id: id }) => id },
      { title: 'TIME (UTC)', value: ({ timestamp }) => dayAndTime(timestamp) },
      { title: 'TYPE', value: ({ event_type: type }) => shortened(type, 30) },
      { title: 'TOOL', value: ({ tool_name: tool }) => shortened(tool ?? '-', 30) },
      { title: 'TEXT', value: (event) => shortened(describeEvent(event), TEXT_LENGTH) },
    ],
    events.slice(0, MOST_EVENTS),
    paint,
  )
  const more = events.length - MOST_EVENTS
  const gone = evidence.length - events.length
  return [
    '',
    ...rows.trimEnd().split('\n'),
    ...(more > 0 ? [`and ${more} more; --json has them`] : []),
    ...(gone > 0 ? [`${gone} of its events are not stored, or no longer`] : []),
  ]
}

function thresholdsText(thresholds: Readonly<Record<string, number>>): string {
  const list = Object.entries(thresholds).map(([name, value]) => `${printable(name)} ${value}`)
  return list.length === 0 ? 'none' : list.join(', ')
}
