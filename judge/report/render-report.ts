/** docs/detectors.md: what the detectors are, and how each part judged them. */
import type { Detector } from '@agent-audit/detect'
import type { ReportTable, Section, Target } from '../part.ts'
import { MARK, MET, MISSED, TARGETS, type WrittenSection } from './read-report.ts'

/** What came of a part: its section, a reason why it could not be judged, or nothing, since it was not asked for. */
export interface Judged {
  readonly name: string
  readonly result: Section | string | undefined
}

export interface ReportParts {
  readonly detectors: readonly Detector[]
  readonly judged: readonly Judged[]
  readonly seed: number
  /** Sections of the report before. */
  readonly before: ReadonlyMap<string, WrittenSection>
}

const HEAD = `# Detectors

<!-- Written by \`npm run judge\` from the detectors and from what they found. Do not edit. -->

A detector reads rows of the trail and gives findings, each with the events that show it. The first half of this page lists the detectors with their methods and thresholds, the second half how they did on data with known answers: \`npm run judge\` runs them and writes this page. A target that was met and is missed now makes the command fail.

Precision is the share of the findings that are right; recall is the share of the anomalies that are found. Thresholds are chosen on one half of the data; the figures are of the other half. Beside the detectors stand naive rules on the same data: a figure says little without them.`

/** Unformatted Markdown. */
export function renderReport({ detectors, judged, seed, before }: ReportParts): string {
  const sections = judged.map(({ name, result }) =>
    [MARK.start(name), sectionOf(name, { result, seed, before }), MARK.end(name)].join('\n\n'),
  )
  const judgement = sections.length === 0 ? ['Nothing is judged yet.'] : [...absent(judged), ...sections]
  return `${[HEAD, '## List of detectors', describeDetectors(detectors), '## Judgement', ...judgement].join('\n\n')}\n`
}

/** A section for each detector: all that its file says of it. */
export function describeDetectors(detectors: readonly Detector[]): string {
  if (detectors.length === 0) return 'There is none yet.'
  return detectors.map(describeDetector).join('\n\n')
}

function describeDetector({ name, version, finds, method, source, thresholds, unit }: Detector): string {
  const limits = Object.entries(thresholds).map(([limit, value]) => `\`${limit}\` ${value}`)
  return [
    `### \`${name}\``,
    `${escaped(finds)} (version ${version}, judges ${unit === 'session' ? 'one session at a time' : 'rows of a query'})`,
    `- Method: ${escaped(method)}`,
    `- Source: ${escaped(source)}`,
    `- Thresholds: ${limits.length === 0 ? 'none' : limits.join(', ')}`,
  ]
    .join('\n\n')
    .replaceAll('\n\n- ', '\n- ')
    .replace('\n- ', '\n\n- ')
}

/** Parts that could not run here, and why. */
function absent(judged: readonly Judged[]): string[] {
  const reasons = judged.flatMap(({ name, result }) =>
    typeof result === 'string' ? [`- ${name}: ${escaped(result)}`] : [],
  )
  if (reasons.length === 0) return []
  return [
    `The newest run did not judge these parts; what stands below of them is of an earlier run:\n\n${reasons.join('\n')}`,
  ]
}

function sectionOf(
  name: string,
  { result, seed, before }: Pick<ReportParts, 'seed' | 'before'> & Pick<Judged, 'result'>,
): string {
  if (typeof result === 'object') return renderSection(result, seed)
  return before.get(name)?.text ?? `### Part ${name}\n\nNot judged here.`
}

function renderSection({ title, text, tables, targets, misses }: Section, seed: number): string {
  return [
    `## ${escaped(title)}`,
    ...text,
    ...tables.map(renderTable),
    ...(targets.length === 0 ? [] : [`${TARGETS}\n\n${targetTable(targets)}`]),
    ...(misses.length === 0
      ? []
      : [`### Missed and wrongly accused\n\n${misses.map((miss) => `- ${escaped(miss)}`).join('\n')}`]),
    `Seed ${seed}.`,
  ].join('\n\n')
}

function targetTable(targets: readonly Target[]): string {
  const rows = targets.map(({ name, wanted, got, met }) => [
    escaped(name),
    escaped(wanted),
    figure(got),
    met ? MET : MISSED,
  ])
  return tableOf(['target', 'wanted', 'got', ''], rows)
}

function renderTable({ title, columns, rows }: ReportTable): string {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? figure(cell) : escaped(cell))))
  return `### ${escaped(title)}\n\n${tableOf(columns.map(escaped), cells)}`
}

function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** Three digits of a fraction: more would be noise. */
export function figure(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 3 })
}

/** One line of text that Markdown and HTML leave as it is: examples quote recorded text, which may be an attacker's. */
export function escaped(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('[', '&#91;')
    .replaceAll(']', '&#93;')
    .replaceAll('|', '&#124;')
}
