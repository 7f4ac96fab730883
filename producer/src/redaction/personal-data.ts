/** Personal data that has a form of its own. Card and account numbers count only when their check digits are right. */
import type { Hit, Pattern } from './pattern.ts'

/** RFC 5321 allows 64 characters in front of the `@`; this bounds the search back from it. */
const EMAIL = /(?<![\w.%+-])[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}/g
/** A run of digits, with at most one space or dash between two of them. */
const DIGITS = /(?<!\d[ -]?)\d(?:[ -]?\d){12,}/g
const SOME_DIGITS = /\d(?:[ -]?\d){12}/
const IBAN_START = /(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?=[ -]?[A-Z0-9])/g
const SOME_IBAN = /[A-Z]{2}\d{2}[ -]?[A-Z0-9]/
/** A number with a country code, or ten digits in the groups of North America. */
const PHONE = /(?<![\w+])(?:(?:\+|00)[1-9](?:[ ().-]{0,2}\d){7,14}|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?!\d)/g
const SOME_PHONE = /(?:\+|00)[1-9]|\d{3}\)?[ .-]\d{3}[ .-]\d{4}/

export const EMAIL_ADDRESSES: Pattern = {
  mayMatch: (text) => text.includes('@'),
  redact: (text, hit) => text.replace(EMAIL, () => hit('email')),
}

export const CARD_NUMBERS: Pattern = {
  mayMatch: (text) => SOME_DIGITS.test(text),
  redact: (text, hit) => text.replace(DIGITS, (run) => redactCards(run, hit)),
}

export const IBANS: Pattern = {
  mayMatch: (text) => SOME_IBAN.test(text),
  redact: redactIbans,
}

export const PHONE_NUMBERS: Pattern = {
  mayMatch: (text) => SOME_PHONE.test(text),
  redact: (text, hit) => text.replace(PHONE, () => hit('phone')),
}

const MOST_CARD_DIGITS = 19
const FEWEST_CARD_DIGITS = 13

/** Looks for cards among groups of digits: a date or a count may stand before or after the groups of a card. */
function redactCards(run: string, hit: Hit): string {
  // Groups stand at even indexes, separators at odd ones.
  const parts = run.split(/([ -])/)
  let redacted = ''
  for (let first = 0; first < parts.length; first++) {
    const end = first % 2 === 0 ? endOfCard(parts, first) : undefined
    redacted += end === undefined ? (parts[first] ?? '') : hit('card')
    if (end !== undefined) first = end - 1
  }
  return redacted
}

/** The end of a card that begins with this group: the index after its last group. */
function endOfCard(parts: readonly string[], first: number): number | undefined {
  let digits = ''
  let found: number | undefined
  for (let index = first; index < parts.length && digits.length <= MOST_CARD_DIGITS; index += 2) {
    digits += parts[index] ?? ''
    if (isCard(digits)) found = index + 1
  }
  return found
}

/** Times in milliseconds or microseconds begin with 1; no card does. */
function isCard(digits: string): boolean {
  if (digits.length < FEWEST_CARD_DIGITS || digits.length > MOST_CARD_DIGITS || !/^[2-6]/.test(digits)) return false
  return passesLuhn(digits)
}

function passesLuhn(digits: string): boolean {
  let sum = 0
  for (let index = 0; index < digits.length; index++) {
    const digit = digits.charCodeAt(digits.length - 1 - index) - 48
    const weighted = index % 2 === 0 ? digit : 2 * digit
    sum += weighted > 9 ? weighted - 9 : weighted
  }
  return sum % 10 === 0
}

/** Length of an IBAN by country, from the registry of ISO 13616. */
const IBAN_LENGTHS = new Map(
  (
    'NO15 BE16 DK18 FI18 FO18 GL18 NL18 MK19 SI19 AT20 BA20 EE20 KZ20 LT20 LU20 XK20 CH21 HR21 LI21 LV21 BG22 BH22 CR22 ' +
    'DE22 GB22 GE22 IE22 ME22 RS22 VA22 AE23 GI23 IL23 IQ23 TL23 AD24 CZ24 ES24 MD24 PK24 RO24 SA24 SE24 SK24 TN24 VG24 ' +
    'LY25 PT25 ST25 IS26 TR26 FR27 GR27 IT27 MC27 MR27 SM27 AL28 AZ28 BY28 CY28 DO28 GT28 HU28 LB28 PL28 SV28 BR29 EG29 ' +
    'PS29 QA29 UA29 JO30 KW30 MU30 MT31 SC31 LC32'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))] as const),
)

function redactIbans(text: string, hit: Hit): string {
  let redacted = ''
  let from = 0
  for (const { index } of text.matchAll(IBAN_START)) {
    const end = index < from ? undefined : endOfIban(text, index)
    if (end === undefined) continue
    redacted += text.slice(from, index) + hit('iban')
    from = end
  }
  return redacted + text.slice(from)
}

/** The end of an IBAN: the country gives its length, and it may be written in groups. */
function endOfIban(text: string, start: number): number | undefined {
  const length = IBAN_LENGTHS.get(text.slice(start, start + 2)) ?? 0
  let iban = ''
  let at = start
  for (; iban.length < length; at++) {
    const character = text[at] ?? ''
    if (/[A-Z0-9]/.test(character)) iban += character
    else if (!/[ -]/.test(character) || !/[A-Z0-9]/.test(text[at - 1] ?? '')) return undefined
  }
  return length > 0 && remainderOf(iban) === 1 ? at : undefined
}

/** ISO 7064: the number, its first four characters moved to the end and letters read as 10 to 35, modulo 97. */
function remainderOf(iban: string): number {
  let remainder = 0
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    const value = Number.parseInt(character, 36)
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97
  }
  return remainder
}
