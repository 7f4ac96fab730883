/** A tree of texts that fits a terminal. Every text is made safe to print here, and nowhere else. */
import { columnsOf } from './table.ts'
import { counted, printable } from './text.ts'

export interface Branch {
  readonly text: string
  /** Most lines of the text; the rest is cut, with a note. @defaultValue 4 */
  readonly lines?: number | undefined
  readonly below?: readonly Branch[] | undefined
}

export const WIDTH = 80
const LINES = 4
/** Of a longer text only the start is looked at: it may be megabytes. */
const MOST_CHARACTERS = WIDTH * 60

/** @returns Lines of at most 80 columns, each with a line break. */
export function renderTree(branches: readonly Branch[], before = ''): string {
  return branches.map((branch, index) => renderBranch(branch, before, index === branches.length - 1)).join('')
}

function renderBranch({ text, lines = LINES, below = [] }: Branch, before: string, last: boolean): string {
  const [first, rest] = last ? ['└─ ', '   '] : ['├─ ', '│  ']
  const wrapped = wrap(text, { width: WIDTH - columnsOf(before) - 3, lines })
  const body = wrapped.map((line, index) => `${before}${index === 0 ? first : rest}${line}\n`)
  return `${body.join('')}${renderTree(below, `${before}${rest}`)}`
}

/** Breaks between words, inside of a word only where it is longer than a line. */
export function wrap(text: string, { width, lines }: { readonly width: number; readonly lines: number }): string[] {
  const start = printable(text.slice(0, MOST_CHARACTERS).replace(/[\ud800-\udbff]$/, ''))
  const wrapped: string[] = []
  let line = ''
  for (const word of start.split(' ').flatMap((each) => pieces(each, width))) {
    if (line !== '' && columnsOf(line) + 1 + columnsOf(word) > width) {
      wrapped.push(line)
      line = ''
    }
    line = line === '' ? word : `${line} ${word}`
  }
  wrapped.push(line)
  if (wrapped.length <= lines && text.length <= MOST_CHARACTERS) return wrapped
  const shown = wrapped.slice(0, lines)
  const hidden = Math.max(1, text.length - shown.join(' ').length)
  return [...shown, `… ${counted(hidden, 'more character')} (--json has all)`]
}

function pieces(word: string, width: number): string[] {
  if (columnsOf(word) <= width) return [word]
  const found: string[] = []
  let piece = ''
  for (const character of word) {
    if (columnsOf(piece) + columnsOf(character) > width) {
      found.push(piece)
      piece = ''
    }
    piece += character
  }
  return [...found, piece]
}

/** A recorded value as one text. */
export function jsonOf(value: unknown): string {
  if (value === null || value === undefined) return 'none recorded'
  return typeof value === 'string' ? value : JSON.stringify(value)
}
