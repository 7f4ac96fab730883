/** Turns a caller's values into the texts of a record, collecting what is wrong and what had to be noted. */
import { hash } from 'node:crypto'
import { invalidEvent } from '@agent-audit/schemas'
import type { Issue, Maybe } from '@agent-audit/schemas'
import { hasLoneSurrogate, replaceLoneSurrogates, toCanonicalText, toJsonText } from './json-text.ts'
import { redactErrors } from '../redaction/redactor.ts'
import type { Redacted, Redactor } from '../redaction/redactor.ts'

type Notes = Record<string, Record<string, unknown>>

/** What the producer did to a field, by field: the record's field_notes. */
export class FieldNotes {
  #notes: Notes | undefined

  /** Goes on with the notes of a record; those that are no such object are dropped. */
  static from(text: string | null): FieldNotes {
    const notes = new FieldNotes()
    notes.#notes = readNotes(text)
    return notes
  }

  /** @param field - One of the record's: only names of ours are safe to assign to. */
  add(field: string, kind: string, value: unknown): void {
    this.#notes ??= {}
    const kinds = (this.#notes[field] ??= {})
    kinds[kind] = value
  }

  /** As JSON, or null when there is nothing to say. */
  text(): string | null {
    return this.#notes === undefined ? null : JSON.stringify(this.#notes)
  }
}

function readNotes(text: string | null): Notes | undefined {
  try {
    const notes: unknown = JSON.parse(text ?? 'null')
    return isObject(notes) && Object.values(notes).every(isObject) ? (notes as Notes) : undefined
  } catch {
    // Another producer's words: the record itself is what counts.
    return undefined
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** By way of hex: a Buffer straight from the hash has memory of its own outside the heap, which costs more than the hash. */
function sha256(text: string): Buffer {
  return Buffer.from(hash('sha256', text, 'hex'), 'hex')
}

/** One event's worth of fields. */
export class FieldWriter {
  readonly notes: FieldNotes = new FieldNotes()
  readonly #eventType: string
  readonly #redactor: Redactor | undefined
  readonly #issues: Issue[] = []

  constructor(eventType: string, redactor: Redactor | undefined) {
    this.#eventType = eventType
    this.#redactor = redactor
  }

  /** Text, redacted; lone surrogates, which UTF-8 cannot hold, become U+FFFD and are noted. */
  text(field: string, value: Maybe<string>): string | null {
    if (value === null || value === undefined) return null
    let text = value
    if (!text.isWellFormed()) {
      this.notes.add(field, 'replaced', 'lone surrogates')
      text = text.toWellFormed()
    }
    return this.#redactor === undefined ? text : this.#note(field, this.#redactor.text(field, text))
  }

  /** A value as JSON text, redacted, or null when there is none. `path` is where the caller wrote it. */
  json(field: string, value: unknown, path: string = field): string | null {
    if (value === null || value === undefined) return null
    const text = this.#wellFormed(field, toJsonText(value, path, this.#issues))
    return text === null ? null : this.#redactJson(field, text, JSON.stringify)
  }

  /**
   * A value that must be there, as canonical JSON (RFC 8785), redacted; and the SHA-256 of the text before that, which
   * binds an approval to what is really done.
   */
  canonical(field: string, value: unknown): { text: string | null; sha256: Uint8Array | null } {
    const text = this.#wellFormed(field, toCanonicalText(value, field, this.#issues))
    if (text === null) return { text, sha256: null }
    const canonical = (left: unknown): string => toCanonicalText(left, field, this.#issues) ?? ''
    return { text: this.#redactJson(field, text, canonical), sha256: sha256(text) }
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
    if (this.#issues.length === 0) return
    redactErrors(this.#redactor, () => {
      throw invalidEvent(this.#eventType, this.#issues)
    })
  }

  #redactJson(field: string, json: string, serialize: (value: unknown) => string): string | null {
    return this.#redactor === undefined ? json : this.#note(field, this.#redactor.json(field, json, serialize))
  }

  #note(field: string, { text, hits }: Redacted): string | null {
    if (hits !== undefined) this.notes.add(field, 'redacted', hits)
    if (text === null) this.notes.add(field, 'redaction_failed', true)
    return text
  }

  #wellFormed(field: string, text: string | undefined): string | null {
    if (text === undefined || !text.includes('\\ud') || !hasLoneSurrogate(text)) return text ?? null
    this.notes.add(field, 'replaced', 'lone surrogates')
    return replaceLoneSurrogates(text)
  }
}
