/** Text and figures for people. */
import { styleText } from 'node:util'

export type Paint = (style: 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan', text: string) => string

/** Colours, or none. */
export function painter(colors: boolean): Paint {
  return (style, text) => (colors ? styleText(style, text, { validateStream: false }) : text)
}

/**
 * Makes text safe to print: recorded text may hold escape sequences that would rewrite the terminal. Line breaks and tabs
 * stay if `lines`, else they become spaces; other control characters, and those that change the writing direction, are shown
 * as escapes.
 */
export function printable(text: string, lines = false): string {
  const kept = lines ? text.replaceAll('\r\n', '\n') : text.replaceAll(/\s+/g, ' ').trim()
  return kept.replaceAll(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    if (character === '\n' || character === '\t') return character
    return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`
  })
}

const SEGMENTER = new Intl.Segmenter('en')

/** At most `length` characters on one line; an ellipsis marks the cut. */
export function shortened(text: string, length: number): string {
  // Cut first: the text may be megabytes.
  const start = printable(text.slice(0, length * 4))
  // In plain ASCII each character is a segment: the segmenter takes a hundred times as long.
  const characters = /^[ -~]*$/.test(start) ? start : Array.from(SEGMENTER.segment(start), ({ segment }) => segment)
  if (characters.length <= length && text.length <= length * 4) return start
  const cut = characters.slice(0, length - 1)
  return `${typeof cut === 'string' ? cut : cut.join('')}…`
}

export function figure(value: number): string {
  return value.toLocaleString('en-US')
}

/** `3 gaps`, `1 gap`. */
export function counted(value: number, one: string, many: string = `${one}s`): string {
  return `${figure(value)} ${value === 1 ? one : many}`
}

export function optionalFigure(value: number | null): string {
  return value === null ? '-' : figure(value)
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
