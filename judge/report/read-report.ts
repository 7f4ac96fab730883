/** Reads a report back: its sections, and the targets that it says are met. */

/** A comment before and after the section of a part; the formatter leaves comments as they are. */
export const MARK = {
  start: (part: string): string => `<!-- part ${part} -->`,
  end: (part: string): string => `<!-- end of part ${part} -->`,
}
/** Heading of a section's targets. */
export const TARGETS = '### Targets'
export const MET = 'met'
export const MISSED = '**missed**'

export interface WrittenSection {
  readonly text: string
  /** Names of the targets that are met. */
  readonly met: readonly string[]
}

/** @returns The sections by the name of their part. */
export function readReport(report: string): Map<string, WrittenSection> {
  const sections = [...report.matchAll(/^<!-- part (\S+) -->\n([\s\S]*?)^<!-- end of part \1 -->$/gm)]
  return new Map(sections.map(([, part = '', text = '']) => [part, { text: text.trim(), met: metTargets(text) }]))
}

function metTargets(text: string): string[] {
  const [, after = ''] = text.split(`${TARGETS}\n`)
  const [table = ''] = after.split(/^#/m)
  const rows = table.split('\n').map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))
  return rows.flatMap((cells) => (cells[4] === MET && cells[1] !== undefined ? [cells[1]] : []))
}
