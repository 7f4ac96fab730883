/** Names of secrets, in keys of objects and in text. */
import { withFlags } from './pattern.ts'

/** Endings of secret names, in any case. */
const ENDINGS = [
  'passwd|password|passphrase|passcode|secret|credential|cookie|authorization|connection[-_ ]?string|mnemonic',
  '(?:seed|recovery|backup)[-_ ]?phrase|(?:api|access|secret|private|signing|encryption|account)[-_ ]?key',
  '(?:access|refresh|auth|oauth|id|session|security|bearer|api|bot|app|user|client|service|csrf|github|gitlab|slack|npm)[-_ ]?token',
]

/** No letter or digit precedes, but those of an escape: `\n`, `\u001b`, `%26`, or of a colour code. */
const START = String.raw`(?:(?<![a-z0-9])|(?<=\\[a-z]|\\u[0-9a-f]{4}|%[0-9a-f]{2}|\[[0-9;]{0,12}m))`
/** Names that are too short, or too common inside other words, to be the end of a longer word. */
const WHOLE = `${START}(?:pwd|pw|pass|auth|jwt|cvv|cvc)`
/** The word `token`, unless the word before it says that it turns pages or marks the start or end of a text. */
const TOKEN = `${START}(?<!(?:next|page|continuation|sync|start|stop|pad|eos|bos)[-_ ])token`
/** Signatures of a URL, which open what it names to everybody: of Azure, AWS and Google. */
const SIGNATURE = '(?<=(?:[?&]|&amp;|%26|u0026)(?:x-(?:amz|goog)-)?)sig(?:nature)?'

const BUILT_IN = `(?:${ENDINGS.join('|')})s?|${WHOLE}|${TOKEN}|${SIGNATURE}`
/** `PASSWORD_1`, `password2`, `privateKeyPem`. */
const MORE = '(?:[-_]?(?:[0-9]{1,4}|pem|base64|string))?'

/** The last two letters of each name above, with and without the `s`, and of what may follow it. */
const LAST_LETTERS = 'wd rd se de et al ie on ng ey en ss th wt vv vc pw ic ig re em ds es ts ls ns gs ys cs'
const MOST_DIGITS = 5

export class SecretNames {
  readonly #key: RegExp
  readonly #given: readonly RegExp[]
  readonly #before: RegExp
  /** With {@link MORE}, which makes the search take four times as long. */
  readonly #beforeMore: RegExp
  /** By {@link pairOf}; undefined: any. */
  readonly #lastLetters: Uint8Array | undefined

  /** @param given - Names added to the built-in ones: whole names in any case, or patterns that are searched for in a key. */
  constructor(given: readonly (string | RegExp)[] = []) {
    const texts = given.flatMap((name) => (typeof name === 'string' ? [patternOf(name)] : []))
    const names = [BUILT_IN, ...texts.map((text) => START + text)].join('|')
    this.#before = new RegExp(`(?<=${names})`, 'iy')
    this.#beforeMore = new RegExp(`(?<=(?:${names})${MORE})`, 'iy')
    this.#lastLetters = lastLettersOf(given)
    this.#key = new RegExp([`(?:${BUILT_IN})${MORE}$`, ...texts.map((text) => `^${text}$`)].join('|'), 'i')
    this.#given = given.flatMap((name) => (typeof name === 'string' ? [] : [withFlags(name, 'i')]))
  }

  /** Whether {@link hasKey} must be called with every key: nothing is known beforehand of the caller's patterns. */
  get asksEveryKey(): boolean {
    return this.#given.length > 0
  }

  hasKey(key: string): boolean {
    return this.#key.test(key) || this.#given.some((pattern) => pattern.test(key))
  }

  /** Whether the last two letters could be those of a secret name. */
  mayEndAt(text: string, last: number): boolean {
    return this.#lastLetters === undefined || this.#lastLetters[pairOf(text, last)] === 1
  }

  /** Whether a secret name ends here. The last two letters exclude most words. */
  endsAt(text: string, end: number): boolean {
    let last = end - 1
    for (let digits = 0; digits < MOST_DIGITS && isCounter(text.charCodeAt(last)); digits++) last--
    if (!this.mayEndAt(text, last) && !this.mayEndAt(text, end - 1)) return false
    const pattern = mayEndMore(text.charCodeAt(end - 1)) ? this.#beforeMore : this.#before
    pattern.lastIndex = end
    return pattern.test(text)
  }
}

/** Whether {@link MORE} may end with this character: a digit, or the last letter of `pem` or `string`. */
function mayEndMore(code: number): boolean {
  const letter = code | 32
  return (code >= 48 && code <= 57) || letter === 109 || letter === 103
}

/** A digit, `-` or `_`. */
function isCounter(code: number): boolean {
  return (code >= 48 && code <= 57) || code === 45 || code === 95
}

/** Two letters as one number, the same for both cases. */
function pairOf(text: string, last: number): number {
  return (((text.charCodeAt(last - 1) & 127) | 32) << 7) | ((text.charCodeAt(last) & 127) | 32)
}

/** Undefined when a name of the caller does not end in two ASCII letters, digits, `_` or `-`: {@link pairOf} cannot compare others. */
function lastLettersOf(given: readonly (string | RegExp)[]): Uint8Array | undefined {
  const ends = given.flatMap((name) => (typeof name === 'string' ? [name] : []))
  if (ends.some((end) => !/[\w-]{2}$/.test(end))) return undefined
  const pairs = new Uint8Array(1 << 14)
  for (const end of [...LAST_LETTERS.split(' '), ...ends]) pairs[pairOf(end, end.length - 1)] = 1
  return pairs
}

function patternOf(name: string): string {
  const words = name.split(/[-_ ]/).map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
  return words.join('[-_ ]?')
}
