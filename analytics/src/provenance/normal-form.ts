/**
 * One form for a text however it is printed: YAML folds lines and doubles quotes, JSON escapes, people write numbers and dates
 * in many ways. All patterns are bounded, so that the time is linear in the text.
 */

/** What a value is, by its shape. */
export type ValueKind = 'email' | 'iban' | 'url' | 'number' | 'date' | 'id' | 'text'

/** Zero-width characters, soft hyphens, marks of direction and tags: invisible, and used to hide orders from filters. */
const INVISIBLE = /[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]|[\u{e0000}-\u{e007f}]/gu
/** Of a double-quoted YAML text: a line folded inside a word, an escaped space, and the escapes that JSON has too. */
const ESCAPE = /\\(?:\r?\n[ \t]*(?:\\(?= ))?|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([nrt"'/\\ ]))/g
const BLANK = new Set(['n', 'r', 't', ' '])

/** Escapes undone, white space folded to one space, letters in lower case, compatible letters as one. */
export function foldText(text: string): string {
  const plain = text.includes('\\') ? text.replaceAll(ESCAPE, unescape) : text
  // eslint-disable-next-line no-control-regex -- ASCII is what most texts are; the others need Unicode's tables.
  const common = /^[\u0000-\u007f]*$/.test(plain) ? plain : plain.normalize('NFKC').replaceAll(INVISIBLE, '')
  return common
    .replaceAll("''", "'")
    .replaceAll(/[‘’]/g, "'")
    .replaceAll(/[“”]/g, '"')
    .replaceAll(/\s+/g, ' ')
    .toLowerCase()
}

function unescape(_all: string, unicode?: string, byte?: string, mark?: string): string {
  const code = unicode ?? byte
  if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16))
  return mark === undefined ? '' : BLANK.has(mark) ? ' ' : mark
}

/** Letters and digits alone: equal for a text and for its quoted, folded or marked-up print. */
export function squeezeText(folded: string): string {
  return folded.replaceAll(/[^\p{L}\p{N}]+/gu, '')
}

const EMAIL = /[a-z0-9._%+-]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}/g
const IBAN = /(?<![a-z0-9])[a-z]{2}\d{2}[a-z0-9]{11,30}(?![a-z0-9])/g
const SPACED_IBAN = /(?<![a-z0-9])[a-z]{2}\d{2}(?: [a-z0-9]{4}){2,7}(?: [a-z0-9]{1,3})?(?![a-z0-9])/g
const URL_LIKE =
  /(?:https?:\/\/[^\s"'<>]{1,2000})|(?<![a-z0-9@.-])(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}(?:[/?#][^\s"'<>]{0,2000})?/g
const NUMBER = /(?<![a-z0-9.,_-])[-+]?\d{1,15}(?:[.,' ]\d{1,15}){0,6}(?![a-z0-9_])/g
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const MONTH = '(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\\.?'
const ISO_DATE = /(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[t ](\d{2}:\d{2}))?(?!\d)/g
const LOCAL_DATE = /(?<!\d)(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(?!\d)/g
const MONTH_FIRST = new RegExp(`(?<![a-z])${MONTH} (\\d{1,2})(?:st|nd|rd|th)?(?:,? (\\d{4}))?(?!\\d)`, 'g')
const DAY_FIRST = new RegExp(`(?<!\\d)(\\d{1,2})(?:st|nd|rd|th)?\\.? (?:of )?${MONTH}(?:,? (\\d{4}))?(?!\\d)`, 'g')

/** The values of one kind in a folded text, each as the key by which two prints of it are equal. */
export function keysIn(folded: string, kind: ValueKind): Iterable<string> {
  switch (kind) {
    case 'email':
      return all(folded, EMAIL, ([found]) => [trimMarks(found)])
    case 'iban':
      return [...all(folded, IBAN, ([found]) => [found]), ...all(folded, SPACED_IBAN, ([found]) => ibanKeys(found))]
    case 'url':
      return all(folded, URL_LIKE, ([found]) => [urlKey(found)])
    case 'number':
      return all(folded, NUMBER, ([found]) => numberKeys(found))
    case 'date':
      return dateKeys(folded)
    default:
      return []
  }
}

function* all(text: string, pattern: RegExp, keys: (match: RegExpExecArray) => readonly string[]): Generator<string> {
  for (const match of text.matchAll(pattern)) yield* keys(match)
}

/** Groups of letters after a spaced IBAN may be words: each length that an IBAN may have is a key. */
function ibanKeys(spaced: string): string[] {
  const groups = spaced.split(' ')
  return groups.map((_, end) => groups.slice(0, end + 1).join('')).filter((key) => key.length >= 15)
}

function urlKey(url: string): string {
  return trimMarks(url)
    .replace(/^https?:\/\//, '')
    .replace(/^www\./, '')
    .replace(/\/$/, '')
}

function trimMarks(text: string): string {
  let end = text.length
  while (end > 0 && '.,;:!?)]}*`'.includes(text[end - 1] ?? '')) end--
  return text.slice(0, end)
}

/** `1,200` is 1200 or 1.2, as countries differ: both are keys. */
function numberKeys(found: string): string[] {
  const plain = found.replaceAll(/[' ]/g, '')
  const readings = [plain.replaceAll(',', ''), plain.replaceAll('.', '').replace(',', '.')]
  const numbers = readings.map(Number).filter((number) => Number.isFinite(number))
  const parts = found.split(/[ ,]/).map(Number) // A list of numbers looks like one with separators.
  return [...new Set([...numbers, ...parts.filter((number) => Number.isFinite(number))])].map(String)
}

function* dateKeys(text: string): Generator<string> {
  for (const [, year = '', month = '', day = '', time] of text.matchAll(ISO_DATE)) {
    const key = dateKey(year, month, day)
    yield key
    if (time !== undefined) yield `${key} ${time}`
  }
  for (const [, first = '', second = '', year = ''] of text.matchAll(LOCAL_DATE)) {
    yield dateKey(year, first, second)
    yield dateKey(year, second, first)
  }
  for (const [, month = '', day = '', year] of text.matchAll(MONTH_FIRST)) yield namedDate(year, month, day)
  for (const [, day = '', month = '', year] of text.matchAll(DAY_FIRST)) yield namedDate(year, month, day)
}

function namedDate(year: string | undefined, month: string, day: string): string {
  return dateKey(year ?? '', String(MONTHS.indexOf(month.slice(0, 3)) + 1), day)
}

/** `2024-05-15`; without a year `-05-15`. */
function dateKey(year: string, month: string, day: string): string {
  return `${year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}`
}

/** What a whole argument value is. */
export function kindOf(folded: string): ValueKind {
  const text = folded.trim()
  if (whole(EMAIL, text)) return 'email'
  if (whole(IBAN, text) || (whole(SPACED_IBAN, text) && /\d{4}/.test(text))) return 'iban'
  if (/^(?:https?:\/\/|www\.)\S+$/.test(text) || /^(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}\/\S*$/.test(text)) return 'url'
  if ([ISO_DATE, LOCAL_DATE, MONTH_FIRST, DAY_FIRST].some((pattern) => whole(pattern, text))) return 'date'
  if (whole(NUMBER, text)) return 'number'
  return /^\S+$/.test(text) && /\d/.test(text) ? 'id' : 'text'
}

function whole(pattern: RegExp, text: string): boolean {
  return text.length <= 200 && new RegExp(`^(?:${pattern.source})$`, 'u').test(text)
}
