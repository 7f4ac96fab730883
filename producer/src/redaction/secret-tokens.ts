/** Finds secrets by their form: keys and tokens of common services, private keys, credentials in a URL. */
import { LETTERS, lettersAt, lettersOf } from './pattern.ts'
import type { Hit, Pattern } from './pattern.ts'
import { TOKENS } from './token-forms.ts'
import type { Span } from './value-ends.ts'

/** An escape may end right in front of a token: `\n`, `\x1b[32m`, `%3D`, `\u003e`, `\x3e`. */
const ESCAPED = String.raw`(?<=\\[a-z]|\[[\d;]{0,12}[A-Za-z]|%[\dA-Fa-f]{2}|\\u[\dA-Fa-f]{4}|\\x[\dA-Fa-f]{2})`
const STARTS = {
  any: undefined,
  word: new RegExp(`(?<![A-Za-z0-9])|${ESCAPED}`, 'y'),
  whole: new RegExp(String.raw`(?<![\w-])|${ESCAPED}`, 'y'),
}

interface Form {
  readonly rule: string
  readonly prefix: string
  readonly start: RegExp | undefined
  readonly rest: RegExp
  readonly hasDigit: boolean
  /** Characters of the prefix that stay. */
  readonly kept: number
}

const RUN = 20
/** Most characters from the beginning of a prefix to the run of its token. */
const BEFORE_RUN = 20

interface Forms {
  /** By {@link lettersOf} a prefix: the longest first, since `lsv2_sk_` is not `sk_`. */
  readonly byEnd: Map<number, readonly Form[]>
  /** 1 where a prefix may end, by {@link lettersAt}. */
  readonly isEnd: Uint8Array
}

/** Made for the first text that may hold a token: they take 1 ms, which every start of a process would pay at import. */
let forms: Forms | undefined

function makeForms(): Forms {
  const made: Forms = { byEnd: new Map(), isEnd: new Uint8Array(LETTERS) }
  for (const { rule, prefixes, rest, start = 'any', hasDigit = false } of TOKENS) {
    const form = { rule, start: STARTS[start], rest: new RegExp(rest, 'y'), hasDigit, kept: 0 }
    for (const prefix of prefixes.split(' ')) addForm(made, { ...form, prefix })
  }
  // `Bearer`, which is searched everywhere, may have a shorter token.
  for (const word of ['bearer', 'BEARER']) {
    const form = { rule: 'bearer', start: undefined, rest: /[\w.~+/-]{16,}={0,2}/y, hasDigit: true }
    for (const blank of [' ', '\t', String.raw`\t`]) {
      const prefix = word + blank
      addForm(made, { ...form, prefix, kept: prefix.length })
    }
  }
  return made
}

function addForm({ byEnd, isEnd }: Forms, form: Form): void {
  for (const letters of lettersOf(form.prefix)) {
    const others = [...(byEnd.get(letters) ?? []), form]
    byEnd.set(
      letters,
      others.toSorted((one, other) => other.prefix.length - one.prefix.length),
    )
    isEnd[letters] = 1
  }
}

const IS_RUN_CHARACTER = new Uint8Array(128)
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-') {
  IS_RUN_CHARACTER[character.charCodeAt(0)] = 1
}

/** A part of a key's body. It ends where a secret begins that has characters no key has: half of it would stay. */
const BODY = String.raw`(?:(?!://|[Bb]earer\s|xoxd-)[A-Za-z0-9+/=\s\\,.:;()_])*`
/** The body may be cut off: then it ends with the first character that no key file has. */
const PRIVATE_KEY = new RegExp(
  `-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----${BODY}(?:-(?!----)${BODY})*(?:-----END [A-Z0-9 ]{0,40}-----)?`,
  'g',
)
const BEARER = /(Bearer(?:[ \t]|\\t){1,4})([\w.~+/-]{16,}={0,2})/g
const WEBHOOK =
  /(hooks\.slack\.com\/(?:services|workflows|triggers)\/|\/api\/webhooks\/\d{5,}\/|\.webhook\.office\.com\/webhookb2\/)[\w@/-]{20,}/g
const SLACK_COOKIE = /xoxd-[\w%+/-]{20,}={0,2}/g
/** The first part of a bot's token is its public id, and stays. */
const DISCORD = /(?<=[MNO][\w-]{23,27})\.[\w-]{6}\.[\w-]{27,38}(?![\w-])/y
/** Of a bearer, a private key, a cookie of Slack and a webhook. One search is cheaper than one for each. */
const SIGN = /Bearer|BEGIN |xoxd-|\/webhook|\.slack\.com\//
/** To the last `@` before the host's path. */
const URL_PASSWORD = /(:\/\/[^\s/:@"'\\]*:)([^\s/"'\\]+)(?=@)/g
const URL_PASSWORD_SIGN = /:\/\/[^\s/]*@/

export const SECRET_TOKENS: Pattern = {
  mayMatch(text) {
    // Most ids and names are shorter than a token, and than any value behind a sign.
    if (text.length >= RUN && (eachToken(text, stop) || SIGN.test(text))) return true
    return text.includes('@') && text.includes('://') && URL_PASSWORD_SIGN.test(text)
  },

  redact(text, hit) {
    return redactInContext(
      redactTokens(
        text.replace(PRIVATE_KEY, () => hit('private_key')),
        hit,
      ),
      hit,
    )
  },
}

function redactTokens(text: string, hit: Hit): string {
  let redacted = ''
  let from = 0
  eachToken(text, ({ rule, start, end }) => {
    redacted += text.slice(from, start) + hit(rule)
    from = end
    return true
  })
  return redacted + text.slice(from)
}

interface Token extends Span {
  readonly rule: string
}

function stop(): boolean {
  return false
}

/**
 * Calls a function with each token, until it returns false. Reads every twentieth character of ordinary text.
 * @returns Whether the function has returned false.
 */
function eachToken(text: string, found: (token: Token) => boolean): boolean {
  let from = 0
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
    from = Math.max(from, start - BEFORE_RUN)
    for (let token = findInRun(text, from, end); token !== undefined; token = findInRun(text, from, end)) {
      if (!found(token)) return true
      from = token.end
    }
    start = Math.max(end, from)
  }
  return false
}

function isRunCharacter(code: number): boolean {
  return code < 128 && IS_RUN_CHARACTER[code] === 1
}

/** The first token whose prefix ends within these places, or Discord's, which has none. */
function findInRun(text: string, from: number, end: number): Token | undefined {
  const { byEnd, isEnd } = (forms ??= makeForms())
  let letters = from < end ? lettersAt(text, from) : 0
  for (let last = from + 1; last < end; last++) {
    // Those of lettersAt, with one read.
    letters = ((letters << 5) | (text.charCodeAt(last) & 31)) & (LETTERS - 1)
    if (isEnd[letters] === 0) continue
    for (const form of byEnd.get(letters) ?? []) {
      const tokenEnd = endOfToken(text, last, form)
      if (tokenEnd === undefined) continue
      const start = last + 1 - form.prefix.length + form.kept
      if (!form.hasDigit || /\d/.test(text.slice(last + 1, tokenEnd))) return { rule: form.rule, start, end: tokenEnd }
      last = tokenEnd - 1
      letters = lettersAt(text, last)
      break
    }
  }
  if (from > end || text.charCodeAt(end) !== 46 || !matchesAt(DISCORD, text, end)) return undefined
  return { rule: 'discord_token', start: end, end: DISCORD.lastIndex }
}

function endOfToken(text: string, last: number, { prefix, start, rest }: Form): number | undefined {
  const first = last + 1 - prefix.length
  if (first < 0 || !text.startsWith(prefix, first) || (start !== undefined && !matchesAt(start, text, first)))
    return undefined
  return matchesAt(rest, text, last + 1) ? rest.lastIndex : undefined
}

function matchesAt(pattern: RegExp, text: string, at: number): boolean {
  pattern.lastIndex = at
  return pattern.test(text)
}

/** Redacts values that are secret because of the words before them; the words stay. */
function redactInContext(text: string, hit: Hit): string {
  return text
    .replace(BEARER, (match, before: string, token: string) => (/\d/.test(token) ? before + hit('bearer') : match))
    .replace(
      WEBHOOK,
      (_match, before: string) => before + hit(before.startsWith('hooks') ? 'slack_webhook' : 'webhook'),
    )
    .replace(SLACK_COOKIE, () => hit('slack_token'))
    .replace(URL_PASSWORD, (_match, before: string) => before + hit('url_password'))
}
