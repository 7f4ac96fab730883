/**
 * What {@link instructionsIn} looks for, as SQL: the server tells the texts that may hold a passage, so that the others are not
 * read. The patterns are made of the same rules, so that a rule that changes changes both.
 */
import { INVISIBLE, LOOKALIKE, PRINTED_BREAK, RULES, shownOf } from './instructions.ts'
import { ORDER_SIGNS } from './orders.ts'

/** White space of JavaScript, of which RE2's has only a part. */
const SPACE = String.raw`\s\v\pZ`

/** Letters that are shown as others, and those. */
const [LETTERS, SHOWN] = shownLetters()

/**
 * SQL that is true for every text in which {@link instructionsIn} finds a passage, and for few others.
 * @param column - An expression of type Nullable(String).
 * @param which - `any` passage, or those alone that are more than a mere order: `stronger`.
 */
export function mayInstruct(column: string, which: 'any' | 'stronger'): string {
  const text = shownSql(`ifNull(${column}, '')`)
  const lists = [[STRONGER], ...(which === 'any' ? ORDER_SIGNS : [])]
  const conditions = lists.map((patterns) => patterns.map((pattern) => matches(text, pattern)).join(' AND '))
  // RE2 does not match what is no UTF-8, and the text that is read has it replaced.
  return `(${[...conditions, `NOT isValidUTF8(ifNull(${column}, ''))`].join(' OR ')})`
}

function matches(text: string, pattern: string): string {
  return `match(${text}, ${quoted(`(?im)${toRe2(pattern)}`)})`
}

const STRONGER = RULES.filter(({ strength }) => strength !== 'order')
  .map(({ pattern }) => pattern.source)
  .join('|')

/** As shownOf does it; texts without such letters are taken as they are. */
function shownSql(text: string): string {
  const broken = `if(position(${text}, '\\\\') = 0, ${text}, replaceRegexpAll(${text}, ${quoted(PRINTED_BREAK.source)}, ' \\n'))`
  const hidden = toRe2(`${INVISIBLE.source}|${LOOKALIKE.source}|[‘’]`)
  return `if(isASCII(${text}) OR NOT match(${text}, ${quoted(hidden)}), ${broken},
    translateUTF8(replaceRegexpAll(${broken}, ${quoted(toRe2(INVISIBLE.source))}, ''), ${quoted(LETTERS)}, ${quoted(SHOWN)}))`
}

function shownLetters(): [string, string] {
  const letters = Array.from({ length: 0xffff }, (_, code) => String.fromCharCode(code)).filter(
    (letter) => /[‘’]/.test(letter) || (letter.search(LOOKALIKE) === 0 && shownOf(letter).text !== letter),
  )
  return [letters.join(''), letters.map((letter) => shownOf(letter).text).join('')]
}

/** A pattern without look-arounds in RE2's syntax. It matches whatever the pattern matches; repeats of white space have no bounds. */
function toRe2(source: string): string {
  return source
    .replaceAll(/\\s\{0,\d+\}/g, String.raw`\s*`)
    .replaceAll(/\\s\{1,\d+\}/g, String.raw`\s+`)
    .replaceAll(/\[(?:\\.|[^\]\\])*\]|\\.|\^/g, (part) => {
      if (part === '^') return String.raw`(?:^|[\r\x{2028}\x{2029}])`
      return part === String.raw`\s` ? `[${SPACE}]` : part.replaceAll(String.raw`\s`, SPACE)
    })
    .replaceAll(/\\u([0-9a-f]{4})/g, String.raw`\x{$1}`)
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
