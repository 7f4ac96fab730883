/**
 * Finds secrets in text by the name before them: `name=value`, `name: value`, `"name": "value"`, `<name>value</name>`, headers.
 * The quick look and the redaction find a name in the same way ({@link NamedSecrets.nameEnd}), so that neither sees more.
 */
import type { Hit, Pattern } from './pattern.ts'
import type { SecretNames } from './secret-names.ts'
import { redactOptions, hasOption } from './shell-options.ts'
import {
  backslashesBefore,
  bareEnd,
  bareLineEnd,
  isPlain,
  quotedValue,
  replaceSpans,
  skipBlanks,
  wordStart,
} from './value-ends.ts'
import type { Span } from './value-ends.ts'

/** What stands between a name and its value; `=` and `:` also as URLs and JSON escape them. */
const OPERATOR = /(?<![:=>])(?:=>|:=|={1,3}|:|>|%3[da]|\\u003[da]|\\x3[da])/gi
/** No text with one of the other operators, or an option, is shorter. */
const SHORTEST_OTHER = 10
/** No text with a name, an operator and a value is shorter; an object with the key of a caller may be. */
const SHORTEST = 5

const FEWEST_BARE = 4
const FEWEST_AFTER_COLON = 6
const HEADER = /(?<=authorization|cookie)/iy
/** Words of a wallet's phrase, which contains spaces. */
const PHRASE = /[ \t]*((?:[a-z]{3,8}[ \t]+){11,23}[a-z]{3,8})/iy
/** A value in the next line, as YAML writes it. */
const BLOCK = /[ \t]*(?:[|>][-+]?[0-9]?[ \t]*\r?\n[ \t]+)?/y
const END_OF_LINE = /[ \t]*(?:[\r\n]|$|#|\\+[nr])/y
const NUMBER_OR_VERSION = /^[v-]?[\d.:-]+(?:e[-+]?\d+)?[,;}\])]*$/i
const XML_VALUE = /[^<>]+(?=<\/)/y
const ENCODED_VALUE = /(?:%2[027]|\+)*((?:[^\s"'`&%\\]|%(?!2[267C]))+)/iy
const MARKED = /\[redacted:[\w.-]+\]\W*$/
const LINE_START = /(?:^|[\r\n])[<>*| \t]{0,8}$/

export class NamedSecrets implements Pattern {
  readonly #names: SecretNames

  constructor(names: SecretNames) {
    this.#names = names
  }

  mayMatch(text: string): boolean {
    if (text.length < SHORTEST) return false
    if (this.#hasName(text, ':') || this.#hasName(text, '=')) return true
    if (text.length < SHORTEST_OTHER) return false
    if (this.#hasName(text, '>') || this.#hasName(text, '%3') || hasOption(text, this.#names)) return true
    return text.includes('\\') && (this.#hasName(text, '\\u003') || this.#hasName(text, '\\x3'))
  }

  /** Whether a secret name stands before an operator that begins like this. */
  #hasName(text: string, sign: string): boolean {
    for (let at = text.indexOf(sign); at >= 0; at = text.indexOf(sign, at + 1)) {
      if (this.nameEnd(text, at) !== undefined) return true
    }
    return false
  }

  redact(text: string, hit: Hit): string {
    const named = replaceSpans(
      text,
      OPERATOR,
      () => hit('key'),
      ({ index: start, 0: operator }) => {
        const nameEnd = this.nameEnd(text, start)
        return nameEnd === undefined ? undefined : valueAt(text, { nameEnd, start, operator })
      },
    )
    return redactOptions(named, { names: this.#names, hit })
  }

  /**
   * The end of the secret name before an operator; undefined where there is none. Between them may stand quotes, `]` and white
   * space, also as JSON and URLs escape them, at any depth.
   */
  nameEnd(text: string, operator: number): number | undefined {
    const letter = text.charCodeAt(operator - 1) === 34 ? operator - 2 : operator - 1
    if (
      isLetter(text.charCodeAt(letter)) &&
      text.charCodeAt(letter - 1) !== 92 &&
      !this.#names.mayEndAt(text, letter)
    ) {
      return undefined
    }
    let end = operator
    for (let width = 1; width > 0; end -= width) width = widthBetween(text, end - 1)
    return end > 0 && this.#names.endsAt(text, end) ? end : undefined
  }
}

function isQuote(code: number): boolean {
  return code === 34 || code === 39 || code === 96
}

/** In lower case. */
function isLetter(code: number): boolean {
  return code >= 97 && code <= 122
}

/** Length of what ends at this place and may stand between a name and its operator. */
function widthBetween(text: string, last: number): number {
  switch (text.charCodeAt(last)) {
    case 9: // Tab.
    case 10: // Line feed.
    case 13: // Carriage return.
    case 32: // Space.
    case 34: // "
    case 39: // '
    case 92: // \
    case 96: // `
      return 1
    case 93: // ] of `["name"]`: not that of a marker.
      return isQuote(text.charCodeAt(last - 1)) ? 1 : 0
    case 110: // \n
    case 114: // \r
    case 116: // \t
      return text.charCodeAt(last - 1) === 92 ? 2 : 0
    case 48: // %20
    case 50: // %22
    case 55: // %27
      return text.charCodeAt(last - 1) === 50 && text.charCodeAt(last - 2) === 37 ? 3 : 0
    default:
      return 0
  }
}

interface Operator {
  readonly nameEnd: number
  readonly start: number
  readonly operator: string
}

/** The secret value behind an operator; undefined when none stands there. */
function valueAt(text: string, found: Operator): Span | undefined {
  const { nameEnd, start, operator } = found
  const end = start + operator.length
  if (operator === '>') return nameEnd === start ? sticky(XML_VALUE, text, end) : undefined
  if (operator.startsWith('%')) return longEnough(sticky(ENCODED_VALUE, text, end), text)
  const quoted = quotedValue(text, end)
  if (quoted !== undefined) return isPlain(text.slice(quoted.start, quoted.end)) ? undefined : quoted
  const isColon = operator === ':' || /3a$/i.test(operator)
  if (isColon && nameEnd === start && sticky(HEADER, text, nameEnd) !== undefined) return headerValue(text, found, end)
  const phrase = sticky(PHRASE, text, end)
  if (phrase !== undefined) return phrase
  return isColon ? valueAfterColon(text, found, end) : valueAfterEquals(text, found, end)
}

/** The span of the group that ends a match, or of the whole match. */
function sticky(pattern: RegExp, text: string, at: number): Span | undefined {
  pattern.lastIndex = at
  const match = pattern.exec(text)
  if (match === null) return undefined
  const end = at + match[0].length
  return { start: end - (match[1] ?? match[0]).length, end }
}

function longEnough(span: Span | undefined, text: string): Span | undefined {
  if (span === undefined || span.end - span.start < FEWEST_BARE) return undefined
  return isPlain(text.slice(span.start, span.end)) ? undefined : span
}

/** A value goes to the next white space; among the parameters of a URL or the parts of a connection string, to the next one. */
function valueAfterEquals(text: string, { nameEnd }: Operator, at: number): Span | undefined {
  const start = skipBlanks(text, at)
  const part = partAround(text, nameEnd)
  const end = part === undefined ? bareEnd(text, start) : (sticky(part, text, start)?.end ?? start)
  return longEnough({ start, end }, text)
}

const PARAMETER = /[^\s&#"'`\\]*/y
const PART = /(?:[^\s;"'`\\]|'(?![\s,}\])>;:\\]|$))*/y

function partAround(text: string, nameEnd: number): RegExp | undefined {
  const start = wordStart(text, nameEnd)
  const before = text.slice(Math.max(0, start - 6), start).trimEnd()
  if (/(?:[?&]|&amp;|u0026)$/.test(before)) return PARAMETER
  return before.endsWith(';') ? PART : undefined
}

/** Prose has colons too: a value in the middle of a line counts when it has letters and digits, or both cases. */
function valueAfterColon(text: string, { nameEnd, start: colon }: Operator, at: number): Span | undefined {
  const start = sticky(BLOCK, text, at)?.end ?? at
  const first = text.charAt(start)
  // Not `password::check` and `secret://name`.
  if (first === ':' || text.startsWith('//', start)) return undefined
  if (colon > nameEnd) return yamlValue(text, start)
  // In a text of names and colons alone each value is the rest of the text: only one that counts may be searched to its end.
  const isMixed = looksMixed(text, start)
  if (start === at && !isMixed) return undefined
  const end = bareEnd(text, start)
  if (end - start < FEWEST_AFTER_COLON || isPlain(text.slice(start, end))) return undefined
  // What a marker ends has been looked at: the marker ends the line, the secret did not.
  const isMarked = MARKED.test(text.slice(start, end))
  const ends = !isMarked && start > at && sticky(END_OF_LINE, text, end) !== undefined
  return ends || isMixed ? { start, end } : undefined
}

const YAML_VALUE = /[^\s"'`,{}[\]\\]{6,}(?=[ \t]*(?:[\r\n]|$))/y

/** Behind a name in quotes: JSON has values there that are no text. */
function yamlValue(text: string, start: number): Span | undefined {
  const value = sticky(YAML_VALUE, text, start)
  if (value === undefined) return undefined
  const shown = text.slice(value.start, value.end)
  return isPlain(shown) || NUMBER_OR_VERSION.test(shown) ? undefined : value
}

/** The first characters of a value tell. */
const LOOK = 100

function looksMixed(text: string, start: number): boolean {
  const [value = ''] = text.slice(start, start + LOOK).split(/\s/, 1)
  if (NUMBER_OR_VERSION.test(value)) return false
  return (/\d/.test(value) && /[A-Za-z]/.test(value)) || /[a-z][A-Z]/.test(value)
}

/** The whole header: to the quote that stands before its name, or to the end of the line. */
function headerValue(text: string, { nameEnd }: Operator, at: number): Span | undefined {
  const first = wordStart(text, nameEnd)
  const start = skipBlanks(text, at)
  const quoted = /["'`]/.test(text[first - 1] ?? '')
    ? quotedValue(text, first - 1 - backslashesBefore(text, first - 1))
    : undefined
  const isLine = LINE_START.test(text.slice(Math.max(0, first - 9), first))
  const end = quoted === undefined ? (isLine ? endOfLine(text, start) : bareLineEnd(text, start)) : quoted.end
  const value = text.slice(start, end)
  return value.trim() === '' || isPlain(value) ? undefined : { start, end }
}

function endOfLine(text: string, at: number): number {
  const length = text.slice(at).search(/[\r\n]/)
  return length < 0 ? text.length : at + length
}
