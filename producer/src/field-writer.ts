/** Turns a caller's values into the texts of a record, collecting what is wrong and what had to be noted. */
import { invalidEvent } from '@agent-audit/schemas'
import type { Issue, Maybe } from '@agent-audit/schemas'
import { hasLoneSurrogate, replaceLoneSurrogates, toCanonicalText, toJsonText } from './json-text.ts'

/** What the producer did to a field, by field: the record's field_notes. */
export class FieldNotes {
  #notes: Record<string, Record<string, unknown>> | undefined

  add(field: string, kind: string, value: unknown): void {
    this.#notes ??= {}
    this.#notes[field] = { ...this.#notes[field], [kind]: value }
  }

  /** As JSON, or null when there is nothing to say. */
  text(): string | null {
    return this.#notes === undefined ? null : JSON.stringify(this.#notes)
  }
}

/** One event's worth of fields. */
export class FieldWriter {
  readonly notes: FieldNotes = new FieldNotes()
  readonly #eventType: string
  readonly #issues: Issue[] = []

  constructor(eventType: string) {
    this.#eventType = eventType
  }

  /** Text as it is; lone surrogates, which UTF-8 cannot hold, become U+FFFD and are noted. */
  text(field: string, value: Maybe<string>): string | null {
    if (value === null || value === undefined) return null
    if (value.isWellFormed()) return value
    this.notes.add(field, 'replaced', 'lone surrogates')
    return value.toWellFormed()
  }

  /** A value as JSON text, or null when there is none. `path` is where the caller wrote it. */
  json(field: string, value: unknown, path: string = field): string | null {
    if (value === null || value === undefined) return null
    return this.#wellFormed(field, toJsonText(value, path, this.#issues))
  }

  /** A value that must be there, as canonical JSON (RFC 8785). */
  canonical(field: string, value: unknown): string | null {
    return this.#wellFormed(field, toCanonicalText(value, field, this.#issues))
  }

  /** Free content with the event's own keys in it, which win; null when both are empty. */
  content(given: Maybe<Record<string, unknown>>, own?: Readonly<Record<string, unknown>>): string | null {
    if (own === undefined) return this.json('content', given)
    const before = this.#issues.length
    const text = this.json('content', { ...given, ...own }, '')
    if (this.#issues.length > before && given !== null && given !== undefined) {
      // Said again with the caller's own paths: `content.x` for what stood in content, `x` for the event's own keys.
      this.#issues.length = before
      this.json('content', given)
      this.json('content', own, '')
    }
    return text === '{}' && (given === null || given === undefined) ? null : text
  }

  /** @throws InvalidInputError `EVENT_INVALID` naming every wrong field. */
  check(): void {
    if (this.#issues.length > 0) throw invalidEvent(this.#eventType, this.#issues)
  }

  #wellFormed(field: string, text: string | undefined): string | null {
    if (text === undefined || !text.includes('\\ud') || !hasLoneSurrogate(text)) return text ?? null
    this.notes.add(field, 'replaced', 'lone surrogates')
    return replaceLoneSurrogates(text)
  }
}
