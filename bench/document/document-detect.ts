/** The section of docs/performance.md about the detectors. */
import { detectBounds } from './bounds.ts'
import { boundsTable, count } from './markdown.ts'
import type { DetectPart } from '../detect/detect-figures.ts'

export function describeDetect(part: DetectPart): string {
  const { rows, partitions, run, watch } = part
  return `## The detectors

${boundsTable(detectBounds(part))}

\`agent-audit detect run\` over a made day of ${count(rows)} events in ${partitions} partitions: ${count(run.sessions)} sessions were
read, and ${count(run.findings)} findings stored, with ${run.cpuSeconds} s of CPU of its own. \`agent-audit detect watch\` beside
${count(watch.eventsPerSecond)} events/s, over the same day. ClickHouse itself makes the rows.`
}
