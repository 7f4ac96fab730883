/**
 * Redaction removes secrets and personal data from an event's texts before they are encoded, and counts the hits. It works on
 * the text that would be recorded: a caller's object cannot give one value to redaction and another to the record.
 */
import { InvalidInputError, TOKENS_ONLY_FIELDS } from '@agent-audit/schemas'
import { FieldPaths } from './field-paths.ts'
import { FieldRedaction } from './field-redaction.ts'
import type { TextRules } from './field-redaction.ts'
import { callerPattern } from './pattern.ts'
import type { Pattern } from './pattern.ts'
import { CARD_NUMBERS, EMAIL_ADDRESSES, IBANS, PHONE_NUMBERS } from './personal-data.ts'
import type { Redact } from '../api/trail-options.ts'
import { NamedSecrets } from './named-secrets.ts'
import { SecretNames } from './secret-names.ts'
import { SECRET_TOKENS } from './secret-tokens.ts'

const PERSONAL: Readonly<Record<string, Pattern>> = {
  email: EMAIL_ADDRESSES,
  card: CARD_NUMBERS,
  iban: IBANS,
  phone: PHONE_NUMBERS,
}

const TOKENS_ONLY: ReadonlySet<string> = new Set(TOKENS_ONLY_FIELDS)

export interface Redacted {
  /** Null when a rule threw: the field is dropped, since its text may still hold secrets. */
  readonly text: string | null
  /** Hits by rule; undefined when there were none. */
  readonly hits: Readonly<Record<string, number>> | undefined
}

export class Redactor {
  readonly #paths: FieldPaths
  readonly #rules: TextRules
  readonly #tokenRules: TextRules = { names: undefined, named: undefined, patterns: [SECRET_TOKENS], custom: undefined }
  /** Whether every JSON text must be parsed: its rules cannot be tested on the text as a whole. */
  readonly #parsesAll: boolean

  /** @returns undefined when redaction is off. */
  static create(redact: Redact): Redactor | undefined {
    return redact === 'off' ? undefined : new Redactor(redact)
  }

  private constructor(redact: Exclude<Redact, 'off'>) {
    const { keys, paths = [], patterns = [], custom } = redact === 'secrets' ? {} : redact
    const names = new SecretNames(keys)
    const others = patterns.flatMap((pattern) =>
      typeof pattern === 'string' ? (PERSONAL[pattern] ?? []) : callerPattern(pattern.name, pattern.pattern),
    )
    this.#paths = new FieldPaths(paths)
    this.#rules = { names, named: new NamedSecrets(names), patterns: [SECRET_TOKENS, ...others], custom }
    this.#parsesAll = custom !== undefined || names.asksEveryKey
  }

  /** Redacts a field that holds text. @returns undefined when no rule can change the text, as for nearly every text. */
  text(field: string, text: string): Redacted | undefined {
    const paths = this.#paths.of(field)
    const rules = this.#rulesOf(field)
    if (paths === undefined && rules.custom === undefined && !mayMatch(rules, text)) return undefined
    return attempt(new FieldRedaction(rules), (redaction) => redaction.value(text, paths ?? [], field) as string)
  }

  /** Removes secret tokens from any text, such as an error message: it names keys, and a key can be a secret. */
  withoutTokens(text: string): string {
    return new FieldRedaction(this.#tokenRules).value(text, [], '') as string
  }

  /** A text for an error's message, without what redaction removes from a field that says the same. */
  forMessage(field: string, text: string): string {
    const redacted = this.text(field, text)
    return redacted === undefined ? text : (redacted.text ?? 'its text could not be redacted')
  }

  /** Redacts a field that holds JSON, as {@link text} does. `serialize` writes the redacted value. */
  json(field: string, json: string, serialize: (value: unknown) => string): Redacted | undefined {
    const paths = this.#paths.of(field)
    const rules = this.#rulesOf(field)
    const parses = paths !== undefined || (this.#parsesAll && rules === this.#rules)
    if (!parses && !mayMatch(rules, json)) return undefined
    return attempt(new FieldRedaction(rules), (redaction) => {
      const value = redaction.value(JSON.parse(json), paths ?? [], field)
      return redaction.hits === undefined ? json : serialize(value)
    })
  }

  #rulesOf(field: string): TextRules {
    return TOKENS_ONLY.has(field) ? this.#tokenRules : this.#rules
  }
}

function mayMatch({ named, patterns }: TextRules, text: string): boolean {
  if (named?.mayMatch(text) === true) return true
  for (const pattern of patterns) if (pattern.mayMatch(text)) return true
  return false
}

function attempt(redaction: FieldRedaction, work: (redaction: FieldRedaction) => string): Redacted {
  try {
    return { text: work(redaction), hits: redaction.hits }
  } catch {
    // The error is dropped as well: it may quote the text.
    return { text: null, hits: undefined }
  }
}

/**
 * Runs a check of a caller's input, and removes secret tokens from the InvalidInputError it throws: the error names the
 * caller's keys, and a key can be a secret.
 */
export function redactErrors<T>(redactor: Redactor | undefined, check: () => T): T {
  try {
    return check()
  } catch (error) {
    throw redactor !== undefined && error instanceof InvalidInputError ? redactError(error, redactor) : error
  }
}

function redactError(error: InvalidInputError, redactor: Redactor): InvalidInputError {
  const message = redactor.withoutTokens(error.message)
  if (message === error.message) return error
  const issues = error.issues.map(({ path, expected }) => ({ path: redactor.withoutTokens(path), expected }))
  return new InvalidInputError(error.code, message, { issues })
}
