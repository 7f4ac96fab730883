/** Redaction of one field: its texts one by one, each with its place, and the hits in all of them. */
import { descend, isNamed } from './field-paths.ts'
import type { PathRest } from './field-paths.ts'
import type { Hit, Pattern } from './pattern.ts'
import type { RedactionRules } from '../api/trail-options.ts'
import type { SecretNames } from './secret-names.ts'

export interface TextRules {
  readonly names: SecretNames | undefined
  readonly patterns: readonly Pattern[]
  readonly custom: RedactionRules['custom']
}

/** A card or phone number may be written as a number; shorter ones are neither. */
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

  /** What is left of a value, as JSON.parse gives it. `paths` are the caller's from here on, `place` is where we are. */
  value(value: unknown, paths: readonly PathRest[], place: string): unknown {
    if (paths.length > 0 && value !== null && isNamed(paths)) return this.#hit('path')
    if (typeof value === 'string') return this.#text(value, place)
    if (typeof value === 'number') return this.#number(value)
    if (typeof value !== 'object' || value === null) return value
    if (!Array.isArray(value)) return this.#object(value, paths, place)
    return value.map((element: unknown, index) => this.value(element, descend(paths, index), `${place}[${index}]`))
  }

  readonly #hit: Hit = (rule) => {
    this.#hits ??= {}
    this.#hits[rule] = (this.#hits[rule] ?? 0) + 1
    return `[redacted:${rule}]`
  }

  #object(value: object, paths: readonly PathRest[], place: string): unknown {
    // Without a prototype: there `__proto__` is a key like any other.
    const left = Object.create(null) as Record<string, unknown>
    for (const [key, member] of Object.entries(value) as [string, unknown][]) {
      const secret = this.#rules.names?.hasKey(key) === true && mayBeSecret(member)
      left[this.#key(key, left)] = secret
        ? this.#hit('key')
        : this.value(member, descend(paths, key), `${place}.${key}`)
    }
    return left
  }

  /** A key can be an e-mail address; two that become the same are told apart. */
  #key(key: string, taken: object): string {
    const redacted = this.#patterns(key)
    if (redacted === key) return key
    for (let count = 2, name = redacted; ; name = `${redacted}#${count++}`) if (!(name in taken)) return name
  }

  #text(text: string, place: string): string {
    const { names, custom } = this.#rules
    const named = names?.mayMatch(text) === true ? names.redact(text, this.#hit) : text
    const redacted = this.#patterns(named)
    if (custom === undefined) return redacted
    const own: unknown = custom(redacted, place)
    if (typeof own !== 'string') throw new TypeError('custom returned no text')
    if (own !== redacted) this.#hit('custom')
    return own
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

/** Whether there is a password says nothing about it. */
function mayBeSecret(value: unknown): boolean {
  return value !== null && value !== '' && typeof value !== 'boolean'
}
