/**
 * Finds secrets in text by the name before them: `name=value`, `name: value`, `"name": "value"`, `<name>value</name>`, headers.
 * The quick look and the redaction find a name in the same way ({@link NamedSecrets.nameEnd}), so that neither sees more.
 */
import type { Hit, Pattern } from './pattern.ts'
import { operatorLength } from './operators.ts'
import type { SecretNames } from './secret-names.ts'
import { redactOptions, hasOption } from './shell-options.ts'
import {
  backslashesBefore,
  bareEnd,
  endOfLine,
  endWithinLine,
  isPlain,
  isSpace,
  quotedValue,
  skipBlanks,
  wordStart,
} from './value-ends.ts'
import type { Span } from './value-ends.ts'

/** No text with one of the other operators, or an option, is shorter. */
const SHORTEST_OTHER = 10
/** No text with a name, an operator and a value is shorter; an object with the key of a caller may be. */
const SHORTEST = 5

/**
 * An operator other than `:`, or the last two characters of `=` and `:` as URLs and JSON escape them (`%3D`, `\u003d`, `\x3D`).
 * One such search takes half the time of a search for each.
 */
const RARE_OPERATOR = /[=>]|3[daDA]/
/** How the others begin. */
const RARE_OPERATORS = ['>', '%3', '\\u003', '\\x3']

const FEWEST_BARE = 4
const FEWEST_AFTER_COLON = 6
const HEADER = /(?<=authorization|cookie)/iy
/** Words of a wallet's phrase, which contains spaces. */
const PHRASE = /[ \t]*((?:[a-z]{3,8}[ \t]+){11,23}[a-z]{3,8})/iy
/** A value in the next line, as YAML writes it. */
const BLOCK = /[|>][-+]?[0-9]?[ \t]*\r?\n[ \t]+/y
const END_OF_LINE = /[ \t]*(?:[\r\n]|$|#|\\+[nr])/y
const NUMBER_OR_VERSION = /^[v-]?[\d.:-]+(?:e[-+]?\d+)?[,;}\])]*$/i
const XML_VALUE = /[^<>]+(?=<\/)/y
const ENCODED_VALUE = /(?:%2[027]|\+)*((?:[^\s"'`&%\\]|%(?!2[267C]))+)/iy
const MARKER = /\[redacted:[\w.-]+\]/y
const MARKED = /\[redacted:[\w.-]+\]\W*$/
const LINE_START = /(?:^|[\r\n])[<>*| \t]{0,8}$/

export class NamedSecrets implements Pattern {
  readonly #names: SecretNames

  constructor(names: SecretNames) {
    this.#names = names
  }

  mayMatch(text: string): boolean {
    if (text.length < SHORTEST) return false
    if (this.#hasName(text, ':')) return true
    if (RARE_OPERATOR.test(text) && this.#hasRareName(text)) return true
    return text.length >= SHORTEST_OTHER && hasOption(text, this.#names)
  }

  #hasRareName(text: string): boolean {
    if (this.#hasName(text, '=')) return true
    if (text.length < SHORTEST_OTHER) return false
    return RARE_OPERATORS.some((sign) => this.#hasName(text, sign))
  }

  /** Whether a secret name stands before an operator that begins like this. */
  #hasName(text: string, sign: string): boolean {
    for (let at = text.indexOf(sign); at >= 0; at = text.indexOf(sign, at + 1)) {
      if (!this.#isOtherWord(text, at) && this.nameEnd(text, at) !== undefined) return true
    }
    return false
  }

  /**
   * Whether a word precedes that surely is no name: it ends in a letter, of no escape, and not as a name does. Says so of 9 in 10
   * operators, and costs half as much as {@link nameEnd}, which decides about the others.
   */
  #isOtherWord(text: string, operator: number): boolean {
    let last = operator - 1
    if (last > 0 && text.charCodeAt(last) === 34) last--
    if (last > 0 && text.charCodeAt(last) === 92) last--
    if (last < 2) return false
    const letter = text.charCodeAt(last) | 32
    return letter >= 97 && letter <= 122 && text.charCodeAt(last - 1) !== 92 && !this.#names.mayEndAt(text, last)
  }

  redact(text: string, hit: Hit): string {
    let redacted = ''
    let from = 0
    for (let start = 0; start < text.length; start++) {
      const end = start + operatorLength(text, start)
      if (end === start) continue
      const nameEnd = this.nameEnd(text, start)
      const value = nameEnd === undefined ? undefined : valueAt(text, { nameEnd, start, end })
      if (value !== undefined) {
        redacted += text.slice(from, value.start) + hit('key')
        from = value.end
      }
      start = (value?.end ?? end) - 1
    }
    return redactOptions(from === 0 ? text : redacted + text.slice(from), { names: this.#names, hit })
  }

  /**
   * The end of the secret name before an operator; undefined where there is none. Between them may stand quotes, `]` and white
   * space, also as JSON and URLs escape them, at any depth.
   */
  nameEnd(text: string, operator: number): number | undefined {
    let end = operator
    for (let width = 1; width > 0; end -= width) {
      while (end > 0 && isBetween(text.charCodeAt(end - 1))) end--
      width = end > 1 ? escapeBefore(text, end) : 0
    }
    return end > 0 && this.#names.endsAt(text, end) ? end : undefined
  }
}

function isQuote(code: number): boolean {
  return code === 34 || code === 39 || code === 96
}

const BETWEEN = new Uint8Array(128)
for (const character of '\t\n\r "\'\\`') BETWEEN[character.charCodeAt(0)] = 1

/** White space, a quote, or a backslash. */
function isBetween(code: number): boolean {
  return code < 128 && BETWEEN[code] === 1
}

/** Length of the escape that ends here, and of the `]` of `["name"]`, but not of a marker. */
function escapeBefore(text: string, end: number): number {
  const last = text.charCodeAt(end - 1)
  const before = text.charCodeAt(end - 2)
  // First what hardly ever is: most names end in any letter.
  if (before === 92) return last === 110 || last === 114 || last === 116 ? 2 : 0 // \n, \r, \t
  if (before === 50) return isCodeOfQuote(last) && text.charCodeAt(end - 3) === 37 ? 3 : 0
  return last === 93 && isQuote(before) ? 1 : 0
}

/** The last digit of %20, %22, %27. */
function isCodeOfQuote(code: number): boolean {
  return code === 48 || code === 50 || code === 55
}

interface Operator {
  readonly nameEnd: number
  readonly start: number
  readonly end: number
}

/** The secret value behind an operator; undefined when none stands there. */
function valueAt(text: string, found: Operator): Span | undefined {
  const { nameEnd, start, end } = found
  const sign = text.charCodeAt(start)
  if (sign === 62) return nameEnd === start ? sticky(XML_VALUE, text, end) : undefined
  if (sign === 37) return longEnough(sticky(ENCODED_VALUE, text, end), text)
  const quoted = quotedValue(text, end)
  if (quoted !== undefined) return isPlain(text.slice(quoted.start, quoted.end)) ? undefined : quoted
  const isColon = isColonBefore(text, end)
  if (isColon && nameEnd === start && isHeader(text, nameEnd)) return headerValue(text, found)
  const phrase = sticky(PHRASE, text, end)
  if (phrase !== undefined) return phrase
  return isColon ? valueAfterColon(text, found) : valueAfterEquals(text, found)
}

function isHeader(text: string, nameEnd: number): boolean {
  const letter = text.charCodeAt(nameEnd - 2) | 32
  if (letter !== 111 && letter !== 105) return false // The `o` and `i` before the last letter.
  HEADER.lastIndex = nameEnd
  return HEADER.test(text)
}

/** `:`, or the end of its escape. */
function isColonBefore(text: string, end: number): boolean {
  const last = text.charCodeAt(end - 1)
  return last === 58 || (last | 32) === 97
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
function valueAfterEquals(text: string, { nameEnd, end: at }: Operator): Span | undefined {
  const start = skipBlanks(text, at)
  if (isMarker(text, start)) return undefined
  const part = partAround(text, nameEnd)
  const end = part === undefined ? bareEnd(text, start) : (sticky(part, text, start)?.end ?? start)
  return longEnough({ start, end }, text)
}

/** What stood here has been taken out: what follows it was no part of it. */
function isMarker(text: string, at: number): boolean {
  return text.startsWith('[redacted:', at) && sticky(MARKER, text, at) !== undefined
}

const PARAMETER = /[^\s&#"'`\\]*/y
const PART = /(?:[^\s;"'`\\]|'(?![\s,}\])>;:\\]|$))*/y

function partAround(text: string, nameEnd: number): RegExp | undefined {
  const start = wordStart(text, nameEnd)
  const before = text.slice(Math.max(0, start - 6), start)
  if (/(?:[?&]|&amp;|u0026)$/.test(before)) return PARAMETER
  return before.trimEnd().endsWith(';') ? PART : undefined
}

/** Prose has colons too: a value in the middle of a line counts when it has letters and digits, or both cases. */
function valueAfterColon(text: string, { nameEnd, start: colon, end: at }: Operator): Span | undefined {
  const blank = skipBlanks(text, at)
  const start = isBlockSign(text.charCodeAt(blank)) ? (sticky(BLOCK, text, blank)?.end ?? blank) : blank
  const first = text.charAt(start)
  // Not `password::check` and `secret://name`.
  if (first === ':' || text.startsWith('//', start) || isMarker(text, start)) return undefined
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

/** `|`, `>`. */
function isBlockSign(code: number): boolean {
  return code === 124 || code === 62
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

/** Letters and digits, or a capital behind a small letter. */
function looksMixed(text: string, start: number): boolean {
  const most = Math.min(text.length, start + LOOK)
  let end = start
  let found = 0
  for (let before = 0; end < most; end++) {
    const kind = kindOf(text.charCodeAt(end))
    if (kind === SPACE) break
    found |= kind
    if (kind === CAPITAL && before === SMALL) return true
    before = kind
  }
  if ((found & DIGIT) === 0 || (found & (SMALL | CAPITAL)) === 0) return false
  return !NUMBER_OR_VERSION.test(text.slice(start, end))
}

const SPACE = 1
const DIGIT = 2
const SMALL = 4
const CAPITAL = 8

function kindOf(code: number): number {
  if (code >= 97 && code <= 122) return SMALL
  if (code >= 65 && code <= 90) return CAPITAL
  if (code >= 48 && code <= 57) return DIGIT
  return isSpace(code) ? SPACE : 0
}

/** The whole header: to the quote that stands before its name, or to the end of the line. */
function headerValue(text: string, { nameEnd, end: at }: Operator): Span | undefined {
  const first = wordStart(text, nameEnd)
  const start = skipBlanks(text, at)
  const quoted = /["'`]/.test(text[first - 1] ?? '')
    ? quotedValue(text, first - 1 - backslashesBefore(text, first - 1))
    : undefined
  const isLine = LINE_START.test(text.slice(Math.max(0, first - 9), first))
  const end = quoted === undefined ? (isLine ? endOfLine(text, start) : endWithinLine(text, start)) : quoted.end
  const value = text.slice(start, end)
  return value.trim() === '' || isPlain(value) ? undefined : { start, end }
}
