/** Aligned columns. */
import type { Paint } from './text.ts'

export interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => string
  /** Whether to align to the right, as figures are. */
  readonly right?: boolean
}

const GAP = '  '

/** A line of titles and a line for each row, each with a line break. Values must be {@link printable} on one line. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], paint: Paint): string {
  const cells = rows.map((row) => columns.map(({ value }) => value(row)))
  const widths = columns.map(({ title }, index) =>
    cells.reduce((width, row) => Math.max(width, columnsOf(row[index] ?? '')), title.length),
  )
  const line = (values: readonly string[]): string =>
    values
      .map((value, index) => padded(value, widths[index] ?? 0, columns[index]?.right === true))
      .join(GAP)
      .trimEnd()
  return [paint('dim', line(columns.map(({ title }) => title))), ...cells.map(line)].map((text) => `${text}\n`).join('')
}

/** Width of text in a terminal: wide characters (East Asian, emoji) take two columns, combining marks none. */
export function columnsOf(text: string): number {
  let width = 0
  for (const character of text) {
    if (/[\p{Mn}\p{Me}\p{Cf}]/u.test(character)) continue
    width +=
      /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\uff01-\uff60]/u.test(
        character,
      )
        ? 2
        : 1
  }
  return width
}

export function padded(text: string, width: number, right = false): string {
  const space = ' '.repeat(Math.max(0, width - columnsOf(text)))
  return right ? space + text : text + space
}
