/** Secrets that are known by the name they stand under: a key of an object, or `name=value` and `name: value` in text. */
import { withFlags } from './pattern.ts'
import type { Hit, Pattern } from './pattern.ts'

/** How a name of a secret ends, in any case. */
const ENDINGS = [
  'passwd|password|passphrase|passcode|secret|credential|cookie|authorization|connection[-_ ]?string',
  '(?:api|access|secret|private|signing|encryption|account)[-_ ]?key',
  '(?:access|refresh|auth|id|session|security|bearer|api|bot)[-_ ]?token',
]

/** Too short, or too common inside other words, to be the end of one. */
const WHOLE = '(?<![a-z0-9])(?:pwd|pass|auth|jwt|cvv|cvc)'
/** A token of one's own naming, but not one that turns pages or ends a text. */
const TOKEN = '(?<![a-z0-9])(?<!(?:next|page|continuation|sync|start|stop|pad|eos|bos)[-_ ])token'

const BUILT_IN = `(?:${ENDINGS.join('|')})s?|${WHOLE}|${TOKEN}`

/** Between a name and its value: quotes, which may be escaped where JSON stands in a string, and spaces. */
const QUOTE = String.raw`\\{0,7}["']`
/** A value in quotes, to the same quote again; not more than this, so that a missing quote costs no more. */
const QUOTED = String.raw`(${QUOTE})((?:(?!\1)(?:\\[^]|[^\\])){1,16384})`

/** Says nothing secret whatever it stands under. */
const PLAIN_VALUE = /^(?:true|false|null|none|undefined)$/i

export class SecretNames implements Pattern {
  readonly #key: RegExp
  readonly #given: readonly RegExp[]
  readonly #trigger: RegExp
  readonly #quoted: RegExp
  readonly #bare: RegExp
  readonly #line: RegExp
  readonly #header: RegExp = /:(?<=(?:authorization|cookie):)([ \t]{0,4})([^\r\n"'\\]{4,4096})/gi

  /** @param given - Names added to the built-in: whole ones in any case, or patterns that are looked for in a key. */
  constructor(given: readonly (string | RegExp)[] = []) {
    const texts = given.flatMap((name) => (typeof name === 'string' ? [patternOf(name)] : []))
    const names = [BUILT_IN, ...texts.map((text) => `(?<![a-z0-9])${text}`)].join('|')
    // Every regular expression begins at the operator and looks back for the name: there are few operators in a text.
    const before = String.raw`(?:${names})(?:${QUOTE})?\s{0,4}`
    this.#trigger = new RegExp(String.raw`[=:](?<=(?:${names})(?:${QUOTE})? {0,4}[=:])`, 'i')
    this.#quoted = new RegExp(String.raw`[=:](?<=${before}[=:])\s{0,4}${QUOTED}`, 'gi')
    this.#bare = new RegExp(String.raw`=(?<=${before}=)([ \t]{0,4})([^\s"'&;,\\]{4,})`, 'gi')
    this.#line = new RegExp(String.raw`:(?<=(?:${names}):)([ \t]{1,4})([^\s"'\\]{6,})(?=[ \t]*(?:[\r\n]|$))`, 'gi')
    this.#key = new RegExp([`(?:${BUILT_IN})$`, ...texts.map((text) => `^${text}$`)].join('|'), 'i')
    this.#given = given.flatMap((name) => (typeof name === 'string' ? [] : [withFlags(name, 'i')]))
  }

  /** Whether {@link hasKey} has to be asked of every key: what the caller's patterns match is not known beforehand. */
  get asksEveryKey(): boolean {
    return this.#given.length > 0
  }

  hasKey(key: string): boolean {
    return this.#key.test(key) || this.#given.some((pattern) => pattern.test(key))
  }

  mayMatch(text: string): boolean {
    return this.#trigger.test(text)
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

function patternOf(name: string): string {
  const words = name.split(/[-_ ]/).map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
  return words.join('[-_ ]?')
}
