/**
 * Redaction: what must not leave the process is taken out of an event's texts before they are encoded, and what was
 * taken out is counted. Works on the text that would be recorded: nothing that a caller's object does can differ between
 * the look and the record.
 */
import { TOKENS_ONLY_FIELDS } from '@agent-audit/schemas'
import { FieldPaths } from './field-paths.ts'
import { FieldRedaction } from './field-redaction.ts'
import type { TextRules } from './field-redaction.ts'
import { ownPattern } from './pattern.ts'
import type { Pattern } from './pattern.ts'
import { CARD_NUMBERS, EMAIL_ADDRESSES, IBANS, PHONE_NUMBERS } from './personal-data.ts'
import type { Redact } from './rules.ts'
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
  /** Null when a rule threw: the field is dropped, since what is in it is not known. */
  readonly text: string | null
  /** Hits by rule; undefined when there were none. */
  readonly hits: Readonly<Record<string, number>> | undefined
}

export class Redactor {
  readonly #paths: FieldPaths
  readonly #rules: TextRules
  readonly #nameRules: TextRules = { names: undefined, patterns: [SECRET_TOKENS], custom: undefined }
  /** Whether texts have to be taken apart before anything can be said of them. */
  readonly #looksAtAll: boolean

  /** Undefined when there is nothing to do. */
  static create(redact: Redact): Redactor | undefined {
    return redact === 'off' ? undefined : new Redactor(redact)
  }

  private constructor(redact: Exclude<Redact, 'off'>) {
    const { keys, paths = [], patterns = [], custom } = redact === 'secrets' ? {} : redact
    const names = new SecretNames(keys)
    const others = patterns.flatMap((pattern) =>
      typeof pattern === 'string' ? (PERSONAL[pattern] ?? []) : ownPattern(pattern.name, pattern.pattern),
    )
    this.#paths = new FieldPaths(paths)
    this.#rules = { names, patterns: [SECRET_TOKENS, ...others], custom }
    this.#looksAtAll = custom !== undefined || names.asksEveryKey
  }

  /** A field that holds text. */
  text(field: string, text: string): Redacted {
    const paths = this.#paths.of(field)
    const rules = TOKENS_ONLY.has(field) ? this.#nameRules : this.#rules
    if (paths === undefined && rules.custom === undefined && !mayMatch(rules, text)) return { text, hits: undefined }
    return attempt(new FieldRedaction(rules), (redaction) => redaction.value(text, paths ?? [], field) as string)
  }

  /** A place in a field, for an error message: a key can be a secret itself. */
  place(path: string): string {
    return new FieldRedaction(this.#nameRules).value(path, [], '') as string
  }

  /** A field that holds JSON. `serialize` writes what is left of it. */
  json(field: string, json: string, serialize: (value: unknown) => string): Redacted {
    const paths = this.#paths.of(field)
    if (paths === undefined && !this.#looksAtAll && !mayMatch(this.#rules, json)) return { text: json, hits: undefined }
    return attempt(new FieldRedaction(this.#rules), (redaction) => {
      const value = redaction.value(JSON.parse(json), paths ?? [], field)
      return redaction.hits === undefined ? json : serialize(value)
    })
  }
}

function mayMatch({ names, patterns }: TextRules, text: string): boolean {
  if (names?.mayMatch(text) === true) return true
  for (const pattern of patterns) if (pattern.mayMatch(text)) return true
  return false
}

function attempt(redaction: FieldRedaction, work: (redaction: FieldRedaction) => string): Redacted {
  try {
    return { text: work(redaction), hits: redaction.hits }
  } catch {
    // Nothing of the error either: it may quote the text.
    return { text: null, hits: undefined }
  }
}
