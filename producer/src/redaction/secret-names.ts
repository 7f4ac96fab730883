/** Names of secrets, in keys of objects and in text. */
import { LETTERS, lettersAt, lettersOf, withFlags } from './pattern.ts'

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

/** The last three letters of each name above, with and without the `s`, and of what may follow it; of `pw`, both. */
const LAST_LETTERS =
  'swd ord ase ode ret ial kie ion ing nic key ken wds rds ses des ets als ies ons ngs ics eys ens pwd pw ass uth jwt cvv cvc ' +
  'sig ure pem'
const MOST_DIGITS = 5

export class SecretNames {
  readonly #key: RegExp
  readonly #given: readonly RegExp[]
  readonly #before: RegExp
  /** The same, with {@link MORE}: some four times as dear. */
  readonly #beforeMore: RegExp
  /** By {@link lettersAt}; undefined: any. */
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

  /** Whether the last three letters could be those of a secret name. */
  mayEndAt(text: string, last: number): boolean {
    return this.#lastLetters === undefined || this.#lastLetters[lettersAt(text, last)] === 1
  }

  /** Whether a secret name ends here. The last three letters exclude most words. */
  endsAt(text: string, end: number): boolean {
    let last = end - 1
    for (let digits = 0; digits < MOST_DIGITS && last > 0 && isCounter(text.charCodeAt(last)); digits++) last--
    if (!this.mayEndAt(text, last) && (last === end - 1 || !this.mayEndAt(text, end - 1))) return false
    const before = mayEndMore(text.charCodeAt(end - 1)) ? this.#beforeMore : this.#before
    before.lastIndex = end
    return before.test(text)
  }
}

/** Whether {@link MORE} can end in this character. */
function mayEndMore(code: number): boolean {
  const letter = code | 32
  return letter === 109 || letter === 103 || (code >= 48 && code <= 57)
}

/** A digit, `-` or `_`. */
function isCounter(code: number): boolean {
  return (code >= 48 && code <= 57) || code === 45 || code === 95
}

/** Undefined when a name of the caller does not end in two ASCII letters or digits: what stands between words may be left out. */
function lastLettersOf(given: readonly (string | RegExp)[]): Uint8Array | undefined {
  const names = given.filter((name) => typeof name === 'string')
  const letters = new Uint8Array(LETTERS)
  for (const name of [...LAST_LETTERS.split(' '), ...names]) {
    const end = /[a-z0-9]{2,3}$/i.exec(name)?.[0]
    if (end === undefined) return undefined
    for (const number of lettersOf(end)) letters[number] = 1
  }
  return letters
}

function patternOf(name: string): string {
  const words = name.split(/[-_ ]/).map((word) => word.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
  return words.join('[-_ ]?')
}
