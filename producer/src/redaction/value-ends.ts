/** Where a value ends, and whether it can be a secret. A value is taken whole, whatever its length: a tail would stay readable. */

export interface Span {
  readonly start: number
  readonly end: number
}

/** A quote, after what may stand between an operator and it: white space, and the letters of `b'…'`. */
const OPENING = /(?:[ \t\r\n]|\\{1,7}[nrt])*(?:[bruf]{1,2}(?=\\{0,15}["'`]))?(\\{0,15})(["'`])/iy

const MAY_OPEN = new Uint8Array(128)
for (const character of ' \t\r\n\\"\'`brufBRUF') MAY_OPEN[character.charCodeAt(0)] = 1

/** What ends a value after a quote. */
const AFTER_QUOTE = String.raw`(?:[\s,}\])>;:\\]|$)`
/** A quote or backslash within a value: no quote that ends it, and no escaped white space. */
const WITHIN = String.raw`["'${'`'}](?!${AFTER_QUOTE})|\\(?!\\{0,7}(?:["'${'`'}]${AFTER_QUOTE}|[nrt]|u00))`
const BARE = new RegExp(String.raw`[^\s"'\\${'`'}]*(?:(?:${WITHIN})[^\s"'\\${'`'}]*)*`, 'y')
const BARE_LINE = new RegExp(String.raw`[^\r\n"'\\${'`'}]*(?:(?:${WITHIN})[^\r\n"'\\${'`'}]*)*`, 'y')

/** Values that reveal no secret under any name: words of a language, variables, and what redaction has left. */
const WORDS =
  /^(?:true|false|null|nil|none|undefined|await|new|async|function|typeof|string|str|number|boolean|bool|bytes|unknown|any|object|required|optional)\W*$/i
const REFERENCE =
  /^(?:\$[A-Z_][A-Z0-9_]*|\$\{[^}]*\}|\$\(.*|\{\{.*|(?:this|self|process|os|env|import|config|options|settings|args|req|request|z|t)\??\..*|[A-Za-z_.]+\(.*|\[redacted:[\w.-]+\](?:\[[\d;]*m|[^A-Za-z0-9])*)[,;)}\]]*$/s

/** A longer value is none of them. */
const LONGEST_PLAIN = 200

export function isPlain(value: string): boolean {
  if (value.length > LONGEST_PLAIN) return false
  return WORDS.test(value) || REFERENCE.test(value)
}

/** The text in quotes that begins at this place. A quote that never closes ends with its line. */
export function quotedValue(text: string, at: number): Span | undefined {
  if (!mayOpen(text.charCodeAt(at))) return undefined
  OPENING.lastIndex = at
  const opening = OPENING.exec(text)
  if (opening === null) return undefined
  const [whole, backslashes = '', quote = ''] = opening
  const start = at + whole.length
  const end = closingQuote(text, start, { quote, depth: backslashes.length }) ?? bareLineEnd(text, start)
  return end > start ? { start, end } : undefined
}

/** Whether {@link OPENING} can begin with this character. */
function mayOpen(code: number): boolean {
  return code < 128 && MAY_OPEN[code] === 1
}

/**
 * JSON within JSON escapes a quote by 1, 3, 7 backslashes: more of them belong to a quote within the value, fewer to the end of
 * the string that holds the whole.
 */
function closingQuote(
  text: string,
  start: number,
  { quote, depth }: { readonly quote: string; readonly depth: number },
): number | undefined {
  const mask = depth === 0 ? 1 : depth < 3 ? (depth === 1 ? 3 : 7) : depth < 7 ? 7 : 15
  for (let at = text.indexOf(quote, start); at >= 0; at = text.indexOf(quote, at + 1)) {
    const backslashes = backslashesBefore(text, at, start)
    if ((backslashes & mask) <= depth) return at - Math.min(backslashes, depth)
  }
  return undefined
}

export function backslashesBefore(text: string, at: number, least = 0): number {
  let first = at
  while (first > least && text.charCodeAt(first - 1) === 92) first--
  return at - first
}

/** The end of a value without quotes: white space, or a quote that closes what is around. */
export function bareEnd(text: string, start: number): number {
  return endOf(BARE, text, start)
}

/** The same for a value that may contain blanks. */
function bareLineEnd(text: string, start: number): number {
  return endOf(BARE_LINE, text, start)
}

/** The end of a header in the middle of a line. A quote that its value has opened, as in `theme="dark"`, does not end it. */
export function endWithinLine(text: string, start: number): number {
  for (let from = start; ;) {
    const end = bareLineEnd(text, from)
    if (!/["'`]/.test(text.charAt(end)) || !text.slice(from, end).includes(`=${text.charAt(end)}`)) return end
    from = end + 1
  }
}

/** The end of the line. */
export function endOfLine(text: string, at: number): number {
  const length = text.slice(at).search(/[\r\n]/)
  return length < 0 ? text.length : at + length
}

function endOf(pattern: RegExp, text: string, start: number): number {
  pattern.lastIndex = start
  pattern.test(text)
  return Math.max(start, pattern.lastIndex)
}

/** What `\s` matches. */
export function isSpace(code: number): boolean {
  return code < 128 ? code === 32 || (code >= 9 && code <= 13) : /\s/.test(String.fromCharCode(code))
}

/** The first place behind blanks. */
export function skipBlanks(text: string, at: number): number {
  let end = at
  while (text.charCodeAt(end) === 32 || text.charCodeAt(end) === 9) end++
  return end
}

/** The first character of the word that ends here. */
export function wordStart(text: string, end: number): number {
  let start = end
  while (start > 0 && isNamePart(text.charCodeAt(start - 1))) start--
  return start
}

/** An ASCII letter or digit, `_`, `-` or `.`. */
function isNamePart(code: number): boolean {
  const letter = code | 32
  return (letter >= 97 && letter <= 122) || (code >= 48 && code <= 57) || code === 95 || code === 45 || code === 46
}

/** Replaces one span at, or after, each match of a global pattern; the search goes on behind it. */
export function replaceSpans(
  text: string,
  pattern: RegExp,
  replacement: () => string,
  find: (match: RegExpExecArray) => Span | undefined,
): string {
  let replaced = ''
  let from = 0
  pattern.lastIndex = 0
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const span = find(match)
    if (span === undefined) continue
    replaced += text.slice(from, span.start) + replacement()
    from = span.end
    pattern.lastIndex = from
  }
  return from === 0 ? text : replaced + text.slice(from)
}
