/** Redaction of one field: it redacts the texts one by one, each with its path, and counts the hits. */
import { descend, isNamed } from './field-paths.ts'
import type { PathRest } from './field-paths.ts'
import type { Hit, Pattern } from './pattern.ts'
import type { RedactionRules } from '../api/trail-options.ts'
import type { SecretNames } from './secret-names.ts'

export interface TextRules {
  /** For keys. */
  readonly names: SecretNames | undefined
  /** For text. */
  readonly named: Pattern | undefined
  readonly patterns: readonly Pattern[]
  readonly custom: RedactionRules['custom']
}

/** A card or phone number may stand as a number; a number with fewer digits is neither. */
const FEWEST_DIGITS = 8

export class FieldRedaction {
  readonly #rules: TextRules
  #hits: Record<string, number> | undefined

  constructor(rules: TextRules) {
    this.#rules = rules
  }

  get hits(): Readonly<Record<string, number>> | undefined {
    return this.#hits
  }

  /**
   * Redacts a value, as JSON.parse gives it. `path` is the path of the value, `targets` are the rests of the caller's paths
   * below it.
   */
  value(value: unknown, targets: readonly PathRest[], path: string): unknown {
    if (targets.length > 0 && value !== null && isNamed(targets)) return this.#hit('path')
    if (typeof value === 'string') return this.#text(value, path)
    if (typeof value === 'number') return this.#number(value)
    if (typeof value !== 'object' || value === null) return value
    if (!Array.isArray(value)) return this.#object(value, targets, path)
    return value.map((element: unknown, index) => this.value(element, descend(targets, index), `${path}[${index}]`))
  }

  readonly #hit: Hit = (rule) => {
    this.#hits ??= {}
    this.#hits[rule] = (this.#hits[rule] ?? 0) + 1
    return `[redacted:${rule}]`
  }

  #object(value: object, targets: readonly PathRest[], path: string): unknown {
    // Without a prototype, `__proto__` is a key like any other.
    const redacted = Object.create(null) as Record<string, unknown>
    for (const [key, member] of Object.entries(value) as [string, unknown][]) {
      const secret = this.#rules.names?.hasKey(key) === true && mayBeSecret(member)
      redacted[this.#key(key, redacted)] = secret
        ? this.#hit('key')
        : this.value(member, descend(targets, key), `${path}.${key}`)
    }
    return redacted
  }

  /** A key can be an e-mail address. Two keys that become equal get different numbers. */
  #key(key: string, taken: object): string {
    const redacted = this.#patterns(key)
    if (redacted === key) return key
    for (let count = 2, name = redacted; ; name = `${redacted}#${count++}`) if (!(name in taken)) return name
  }

  #text(text: string, path: string): string {
    const { named, custom } = this.#rules
    const unnamed = named?.mayMatch(text) === true ? named.redact(text, this.#hit) : text
    const redacted = this.#patterns(unnamed)
    if (custom === undefined) return redacted
    const result: unknown = custom(redacted, path)
    if (typeof result !== 'string') throw new TypeError('custom returned no text')
    if (result !== redacted) this.#hit('custom')
    return result
  }

  #number(value: number): unknown {
    const text = String(value)
    if (text.length < FEWEST_DIGITS) return value
    const redacted = this.#patterns(text)
    return redacted === text ? value : redacted
  }

  #patterns(text: string): string {
    let redacted = text
    for (const pattern of this.#rules.patterns) {
      if (pattern.mayMatch(redacted)) redacted = pattern.redact(redacted, this.#hit)
    }
    return redacted
  }
}

/** Null, an empty text or a boolean under a secret key reveals nothing: it only says whether a secret exists. */
function mayBeSecret(value: unknown): boolean {
  return value !== null && value !== '' && typeof value !== 'boolean'
}
