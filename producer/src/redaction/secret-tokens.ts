/** Finds secrets by their form: keys and tokens of common services, private keys, credentials in a URL. */
import type { Hit, Pattern } from './pattern.ts'

/** No letter or digit precedes, but for the `n` of an escaped line break where JSON stands in a string. */
const START = String.raw`(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))`
/** The same for forms that are searched beyond their first part: no character precedes that they could contain. */
const WHOLE_START = String.raw`(?:(?<![\w-])|(?<=\\[nrt]))`

interface Token {
  readonly rule: string
  /** Beginning of the token. Shorter forms would match in ordinary words. */
  readonly prefix: string
  readonly rest: string
  readonly start?: string
  /** A match must contain a digit: ordinary words may have the form, but no digit. */
  readonly hasDigit?: boolean
}

/** Each token is, or contains, a run of at least {@link RUN} of the characters below; {@link hasToken} relies on it. */
const TOKENS: readonly Token[] = [
  { rule: 'aws_key', prefix: '(?:AKIA|ASIA|ABIA|ACCA)', rest: '[A-Z0-9]{16}(?![A-Za-z0-9])' },
  { rule: 'github_token', prefix: '(?:gh[pousr]_|github_pat_)', rest: String.raw`\w{22,255}` },
  { rule: 'gitlab_token', prefix: 'gl(?:pat|dt|rt|cbt|ptt|ft|imt|soat|oas|agent)-', rest: String.raw`[\w-]{20,}` },
  { rule: 'slack_token', prefix: '(?:xox[abceoprs]-|xapp-)', rest: '[A-Za-z0-9-]{15,}' },
  { rule: 'stripe_key', prefix: '(?:[srp]k_(?:live|test)_|whsec_)', rest: '[A-Za-z0-9]{16,}' },
  { rule: 'api_key', prefix: 'sk-', rest: String.raw`[\w-]{20,}`, hasDigit: true },
  { rule: 'api_key', prefix: '(?:gsk_|hf_|npm_|dop_v1_|dapi)', rest: '[A-Za-z0-9]{30,}' },
  { rule: 'api_key', prefix: String.raw`(?:hvs\.|pypi-)`, rest: String.raw`[\w-]{24,}` },
  { rule: 'api_key', prefix: String.raw`SG\.`, rest: String.raw`[\w-]{20,}\.[\w-]{30,}` },
  { rule: 'google_key', prefix: '(?:AIza|GOCSPX-|ya29\\.)', rest: String.raw`[\w-]{20,}` },
  { rule: 'telegram_token', prefix: ':AA', rest: String.raw`[\w-]{33}(?![\w-])`, start: String.raw`(?<=\d{8})` },
  { rule: 'jwt', prefix: 'eyJ', rest: String.raw`[\w-]{10,}(?:\.[\w-]{4,}){1,4}\.?`, start: WHOLE_START },
]

const RUN = 20
/** Most characters of a prefix that can precede its run: `bearer `. */
const BEFORE_RUN = 7
/** Only this searches for lower-case `bearer`, near a run: to search a whole text for it would cost more than all the rest. */
const PREFIXES = new RegExp(['bearer ', ...TOKENS.map(({ prefix }) => prefix)].join('|'))
const FINDERS = TOKENS.map(({ rule, prefix, rest, start = START, hasDigit = false }) => {
  return { rule, hasDigit, pattern: new RegExp(start + prefix + rest, 'g') }
})

const IS_RUN_CHARACTER = new Uint8Array(128)
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-') {
  IS_RUN_CHARACTER[character.charCodeAt(0)] = 1
}

const SIGNS = ['-----BEGIN ', 'Bearer ', 'hooks.slack.com/']

const PRIVATE_KEY =
  /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]*(?:-[^-]+){0,8}-----END [A-Z0-9 ]{0,40}-----|[A-Za-z0-9+/=\s\\]*)/g
const BEARER = /([Bb]earer[ \t]{1,4})([\w.~+/-]{16,}={0,2})/g
const SLACK_WEBHOOK = /(hooks\.slack\.com\/(?:services|workflows|triggers)\/)[\w/-]{20,}/g
const URL_PASSWORD = /:(?<=:\/\/[^\s/:@"'\\]{0,64}:)([^\s/@"'\\]{1,256})(?=@)/g
const URL_PASSWORD_SIGN = /:(?<=:\/\/[^\s/:@"'\\]{0,64}:)[^\s/@"'\\]{1,256}@/

export const SECRET_TOKENS: Pattern = {
  mayMatch(text) {
    // Most ids and names are shorter than a token, and than any value behind a sign.
    if (text.length >= RUN && (hasToken(text) || SIGNS.some((sign) => text.includes(sign)))) return true
    return mayHaveUrlPassword(text)
  },

  redact(text, hit) {
    let redacted = text.replace(PRIVATE_KEY, () => hit('private_key'))
    for (const { rule, hasDigit, pattern } of FINDERS) {
      redacted = redacted.replace(pattern, (match) => (hasDigit && !/\d/.test(match) ? match : hit(rule)))
    }
    return redactInContext(redacted, hit)
  },
}

/** Whether a long run of characters contains the beginning of a token. Reads every twentieth character of ordinary text. */
function hasToken(text: string): boolean {
  let start = 0
  for (let last = RUN - 1; last < text.length; last = start + RUN - 1) {
    let at = last
    while (at >= start && isRunCharacter(text.charCodeAt(at))) at--
    if (at >= start) {
      start = at + 1
      continue
    }
    let end = last + 1
    while (end < text.length && isRunCharacter(text.charCodeAt(end))) end++
    if (PREFIXES.test(text.slice(Math.max(0, start - BEFORE_RUN), end))) return true
    start = end
  }
  return false
}

function isRunCharacter(code: number): boolean {
  return code < 128 && IS_RUN_CHARACTER[code] === 1
}

function mayHaveUrlPassword(text: string): boolean {
  return text.includes('@') && URL_PASSWORD_SIGN.test(text)
}

/** Redacts values that are secret because of the words before them; the words stay. */
function redactInContext(text: string, hit: Hit): string {
  return text
    .replace(BEARER, (match, before: string, token: string) => (/\d/.test(token) ? before + hit('bearer') : match))
    .replace(SLACK_WEBHOOK, (_match, before: string) => before + hit('slack_webhook'))
    .replace(URL_PASSWORD, () => `:${hit('url_password')}`)
}
