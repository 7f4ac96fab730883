/** Text and figures for people. */
import { styleText } from 'node:util'

export type Paint = (style: 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan', text: string) => string

/** Colours, or none. */
export function painter(colors: boolean): Paint {
  return (style, text) => (colors ? styleText(style, text, { validateStream: false }) : text)
}

/**
 * Characters that a terminal obeys or does not show: controls, line separators, marks of the writing direction, and invisible
 * ones such as zero-width spaces and tags, which make two ids look alike. An emoji keeps its variation selector.
 */
const HIDDEN =
  /(?!(?<=\p{Extended_Pictographic})\ufe0f)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu

/**
 * Makes text safe to print: recorded text may hold escape sequences that would rewrite the terminal. Line breaks and tabs
 * stay if `lines`, else they become spaces; {@link HIDDEN} characters are shown as escapes.
 */
export function printable(text: string, lines = false): string {
  // \s has U+FEFF too, which is invisible.
  const kept = lines ? text.replaceAll('\r\n', '\n') : text.replaceAll(/[^\S\ufeff]+/g, ' ').replaceAll(/^ | $/g, '')
  return kept.replaceAll(HIDDEN, (character) => {
    if (character === '\n' || character === '\t') return character
    const code = (character.codePointAt(0) ?? 0).toString(16)
    return character.length > 1 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`
  })
}

/** One line of JSON, of any value that JSON has. {@link HIDDEN} characters are escaped; a parser reads the same value. */
export function asJson(value: unknown, replacer?: (key: string, value: unknown) => unknown): string {
  return JSON.stringify(value, replacer).replaceAll(HIDDEN, (character) =>
    Array.from(
      { length: character.length },
      (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`,
    ).join(''),
  )
}

/** Longest id in a table, characters; --json has it whole. */
const ID_LENGTH = 64

/** An id for a table. */
export function shortId(id: string): string {
  return shortened(id, ID_LENGTH)
}

const SEGMENTER = new Intl.Segmenter('en')

/** At most `length` characters on one line; an ellipsis marks the cut. */
export function shortened(text: string, length: number): string {
  // Cut first: the text may be megabytes.
  const start = printable(text.slice(0, length * 4).replace(/[\ud800-\udbff]$/, ''))
  // In plain ASCII each character is a segment: the segmenter takes a hundred times as long.
  const characters = /^[ -~]*$/.test(start) ? start : Array.from(SEGMENTER.segment(start), ({ segment }) => segment)
  if (characters.length <= length && text.length <= length * 4) return start
  const cut = characters.slice(0, length - 1)
  return `${typeof cut === 'string' ? cut : cut.join('')}…`
}

export function figure(value: number | bigint): string {
  return value.toLocaleString('en-US')
}

/** `3 gaps`, `1 gap`. */
export function counted(value: number, one: string, many: string = `${one}s`): string {
  return `${figure(value)} ${value === 1 ? one : many}`
}

export function optionalFigure(value: number | null): string {
  return value === null ? '-' : figure(value)
}

/** The field of a row of analytics, with all digits, where a double cannot hold it. */
export function exactFigure<Name extends string>(
  row: { readonly exact?: Readonly<Record<string, string>> | undefined } & Readonly<Record<Name, number | null>>,
  name: Name,
): string {
  const digits = row.exact?.[name]
  return digits === undefined ? optionalFigure(row[name]) : figure(BigInt(digits))
}

/** `2026-11-24 10:00:00` from an ISO time in UTC. */
export function dayAndTime(iso: string): string {
  return iso.slice(0, 19).replace('T', ' ')
}

/** Time between two ISO times: `0.4 s`, `12 s`, `3 m 05 s`, `2 h 10 m`, `3 d 4 h`. */
export function duration(from: string, to: string): string {
  const seconds = Math.max(0, Date.parse(to) - Date.parse(from)) / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  const minutes = Math.floor(whole / 60)
  if (minutes < 60) return `${minutes} m ${String(whole % 60).padStart(2, '0')} s`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, '0')} m`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}
