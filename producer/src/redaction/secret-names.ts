/** Finds secrets by their name: a key of an object, or `name=value` and `name: value` in text. */
import { withFlags } from './pattern.ts'
import type { Hit, Pattern } from './pattern.ts'

/** Endings of secret names, in any case. */
const ENDINGS = [
  'passwd|password|passphrase|passcode|secret|credential|cookie|authorization|connection[-_ ]?string',
  '(?:api|access|secret|private|signing|encryption|account)[-_ ]?key',
  '(?:access|refresh|auth|oauth|id|session|security|bearer|api|bot|app|user|client|service|csrf|github|gitlab|slack|npm)[-_ ]?token',
]

/** Names that are too short, or too common inside other words, to be the end of a longer word: no letter or digit may precede them. */
const WHOLE = '(?<![a-z0-9])(?:pwd|pass|auth|jwt|cvv|cvc)'
/** The word `token`, unless the word before it says that it turns pages or marks the start or end of a text. */
const TOKEN = '(?<![a-z0-9])(?<!(?:next|page|continuation|sync|start|stop|pad|eos|bos)[-_ ])token'

const BUILT_IN = `(?:${ENDINGS.join('|')})s?|${WHOLE}|${TOKEN}`

/** The last two letters of each name above, with and without the `s`. */
const LAST_LETTERS = 'wd rd se de et al ie on ng ey en ss th wt vv vc ds es ts ls ns gs ys'

/** A quote between a name and its value; it may be escaped where JSON stands in a string. */
const QUOTE = String.raw`\\{0,7}["']`
/** A value in quotes, to the same quote again; its length is bounded, which bounds the cost of a missing quote. */
const QUOTED = String.raw`(${QUOTE})((?:(?!\1)(?:\\[^]|[^\\])){1,16384})`

/** Values that reveal no secret under any name. */
const PLAIN_VALUE = /^(?:true|false|null|none|undefined)$/i

export class SecretNames implements Pattern {
  readonly #key: RegExp
  readonly #given: readonly RegExp[]
  readonly #operator: RegExp
  readonly #lastLetters: ReadonlySet<number> | undefined
  readonly #quoted: RegExp
  readonly #bare: RegExp
  readonly #line: RegExp
  readonly #header: RegExp = /:(?<=(?:authorization|cookie):)([ \t]{0,4})([^\r\n"'\\]{4,4096})/gi

  /** @param given - Names added to the built-in ones: whole names in any case, or patterns that are searched for in a key. */
  constructor(given: readonly (string | RegExp)[] = []) {
    const texts = given.flatMap((name) => (typeof name === 'string' ? [patternOf(name)] : []))
    const names = [BUILT_IN, ...texts.map((text) => `(?<![a-z0-9])${text}`)].join('|')
    // Each regular expression begins at the operator and looks back for the name: a text has few operators.
    const before = String.raw`(?:${names})(?:${QUOTE})?\s{0,4}`
    this.#operator = new RegExp(String.raw`(?<=(?:${names})(?:${QUOTE})? {0,4})[=:]`, 'iy')
    this.#lastLetters = lastLettersOf(given)
    this.#quoted = new RegExp(String.raw`[=:](?<=${before}[=:])\s{0,4}${QUOTED}`, 'gi')
    this.#bare = new RegExp(String.raw`=(?<=${before}=)([ \t]{0,4})([^\s"'&;,\\]{4,})`, 'gi')
    this.#line = new RegExp(String.raw`:(?<=(?:${names}):)([ \t]{1,4})([^\s"'\\]{6,})(?=[ \t]*(?:[\r\n]|$))`, 'gi')
    this.#key = new RegExp([`(?:${BUILT_IN})$`, ...texts.map((text) => `^${text}$`)].join('|'), 'i')
    this.#given = given.flatMap((name) => (typeof name === 'string' ? [] : [withFlags(name, 'i')]))
  }

  /** Whether {@link hasKey} must be called with every key: nothing is known beforehand of the caller's patterns. */
  get asksEveryKey(): boolean {
    return this.#given.length > 0
  }

  hasKey(key: string): boolean {
    return this.#key.test(key) || this.#given.some((pattern) => pattern.test(key))
  }

  mayMatch(text: string): boolean {
    return this.#mayBeBefore(text, ':') || this.#mayBeBefore(text, '=')
  }

  /** indexOf skips most of a text, and the last two letters exclude most keys. */
  #mayBeBefore(text: string, operator: string): boolean {
    for (let at = text.indexOf(operator); at >= 0; at = text.indexOf(operator, at + 1)) {
      let last = at - 1
      while (last > 0 && last > at - MOST_BETWEEN && isBetween(text.charCodeAt(last))) last--
      if (this.#lastLetters?.has(pairOf(text, last)) === false) continue
      this.#operator.lastIndex = at
      if (this.#operator.test(text)) return true
    }
    return false
  }

  redact(text: string, hit: Hit): string {
    return text
      .replace(this.#quoted, (match, _quote: string, value: string) => {
        return PLAIN_VALUE.test(value) ? match : match.slice(0, match.length - value.length) + hit('key')
      })
      .replace(this.#header, (_match, space: string) => `:${space}${hit('key')}`)
      .replace(this.#bare, (match, space: string, value: string) => {
        return PLAIN_VALUE.test(value) ? match : `=${space}${hit('key')}`
      })
      .replace(this.#line, (match, space: string, value: string) => {
        return PLAIN_VALUE.test(value) ? match : `:${space}${hit('key')}`
      })
  }
}

/** Most quotes, backslashes and spaces that may stand between a name and its operator. */
const MOST_BETWEEN = 13

function isBetween(code: number): boolean {
  return code === 34 || code === 32 || code === 92 || code === 39
}

/** Two letters as one number, the same for both cases. */
function pairOf(text: string, last: number): number {
  return ((text.charCodeAt(last - 1) | 32) << 16) | (text.charCodeAt(last) | 32)
}

/** Undefined when a name of the caller does not end in two ASCII letters, digits, `_` or `-`: {@link pairOf} cannot compare others. */
function lastLettersOf(given: readonly (string | RegExp)[]): ReadonlySet<number> | undefined {
  const ends = given.flatMap((name) => (typeof name === 'string' ? [name] : []))
  if (ends.some((end) => !/[\w-]{2}$/.test(end))) return undefined
  return new Set([...LAST_LETTERS.split(' '), ...ends].map((end) => pairOf(end, end.length - 1)))
}

function patternOf(name: string): string {
  const words = name.split(/[-_ ]/).map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
  return words.join('[-_ ]?')
}
