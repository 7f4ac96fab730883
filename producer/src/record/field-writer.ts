/** Turns a caller's values into the texts of a record; collects the faults in them and the notes about them. */
import { hash } from 'node:crypto'
import { invalidEvent, JSON_FIELDS, REDACTED_FIELDS } from '@agent-audit/schemas'
import type { Issue, Maybe, TextField } from '@agent-audit/schemas'
import {
  hasLoneSurrogate,
  replaceLoneSurrogates,
  toCanonicalText,
  toJsonText,
  toPartialText,
  writeCanonical,
} from './json-text.ts'
import { redactErrors } from '../redaction/redactor.ts'
import type { Redacted, Redactor } from '../redaction/redactor.ts'
import type { EventRecord, SessionStamps } from './event-record.ts'

type Notes = Record<string, Record<string, unknown>>

/** The record's field_notes: what the producer did to each field. */
export class FieldNotes {
  #notes: Notes | undefined

  /** Starts with the notes of a record; notes that are not an object of objects are dropped. */
  static from(text: string | null): FieldNotes {
    const notes = new FieldNotes()
    notes.#notes = readNotes(text)
    return notes
  }

  /** @param field - A field of the record: a caller's own name would not be safe as a key. */
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
    // Another producer wrote them: the record counts, not its notes.
    return undefined
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Goes through hex: a Buffer straight from the hash has its own memory outside the heap, which costs more than the hash. */
function sha256(text: string): Buffer {
  return Buffer.from(hash('sha256', text, 'hex'), 'hex')
}

type RedactEach = (record: EventRecord, stamps: SessionStamps, writer: FieldWriter) => void

/**
 * Redacts the fields that the schema names, one statement each. Generated, like the encoder: a loop over their names finds no
 * inline cache in V8, and costs 0.35 us an event.
 */
const redactEach: RedactEach = generateRedaction()

function generateRedaction(): RedactEach {
  const json: ReadonlySet<TextField> = new Set<TextField>(JSON_FIELDS)
  const lines = REDACTED_FIELDS.map((field) => {
    const unstamped = field === 'user_id' || field === 'model_id' ? ` && v !== s.${field}` : ''
    const method = field === 'tool_output' ? 'redactOutput' : json.has(field) ? 'redactJson' : 'redactText'
    return `v = r.${field}; if (v !== null${unstamped}) r.${field} = w.${method}('${field}', v)`
  })
  // The names come from our own schema file alone.
  // oxlint-disable-next-line typescript/no-implied-eval
  return new Function('r', 's', 'w', `let v; ${lines.join('\n')}`) as RedactEach
}

/** A getter of the caller may throw: then all of `given` is in the result, and the walk over it says where. */
function merge(given: Maybe<Record<string, unknown>>, own: Readonly<Record<string, unknown>>): unknown {
  try {
    return { ...given, ...own }
  } catch {
    return { content: given, ...own }
  }
}

/** A value from JSON.parse, as canonical JSON. */
function toCanonical(value: unknown): string {
  return writeCanonical(value) ?? ''
}

/** The fields of one event. */
export class FieldWriter {
  readonly notes: FieldNotes = new FieldNotes()
  readonly #eventType: string
  readonly #redactor: Redactor | undefined
  readonly #partial: boolean
  readonly #issues: Issue[] = []
  /** The output of the tool before redaction and cut, and whether it is JSON; else it is text. */
  #output: { readonly text: string; readonly isJson: boolean } | undefined

  /** @param partial - Values that JSON cannot hold do not make the event wrong: texts take their positions. */
  constructor(eventType: string, redactor: Redactor | undefined, partial: boolean) {
    this.#eventType = eventType
    this.#redactor = redactor
    this.#partial = partial
  }

  /** A text. Lone surrogates, which UTF-8 cannot hold, become U+FFFD and are noted. */
  text(field: string, value: Maybe<string>): string | null {
    if (value === null || value === undefined) return null
    if (value.isWellFormed()) return value
    this.notes.add(field, 'replaced', 'lone surrogates')
    return value.toWellFormed()
  }

  /** A value as JSON text, or null when there is none. `path` is where the caller wrote it. */
  json(field: string, value: unknown, path: string = field): string | null {
    if (value === null || value === undefined) return null
    const text = this.#partial ? this.#partialText(field, value, path) : toJsonText(value, path, this.#issues)
    return this.#wellFormed(field, text)
  }

  #partialText(field: string, value: unknown, path: string): string | undefined {
    const { text, issues } = toPartialText(value, path)
    if (text !== undefined && issues.length > 0) this.notes.add(field, 'not_recorded', issues.length)
    if (text === undefined) for (const issue of issues) this.#issues.push(issue)
    return text
  }

  /** The output of a tool: text as it is, any other value as JSON. */
  output(value: unknown): string | null {
    const isJson = typeof value !== 'string'
    const text = isJson ? this.json('tool_output', value) : this.text('tool_output', value)
    if (text !== null) this.#output = { text, isJson }
    return text
  }

  /** Whether the event has an output of a tool, in the record or not. */
  get hasOutput(): boolean {
    return this.#output !== undefined
  }

  /**
   * SHA-256 of the tool's whole output, if the record holds less than that after redaction and cut; else null: the digest
   * follows from the output itself, and would cost 0.6 us and 32 bytes that no codec makes smaller.
   * @param recorded - tool_output of the finished record.
   */
  outputDigest(recorded: string | null): Uint8Array | null {
    if (this.#output === undefined || this.#output.text === recorded) return null
    const { text, isJson } = this.#output
    return sha256(isJson ? toCanonical(JSON.parse(text)) : text)
  }

  /** A value that must be there, as canonical JSON (RFC 8785), and its SHA-256, which binds an approval to the true arguments. */
  canonical(field: string, value: unknown): { text: string | null; sha256: Uint8Array | null } {
    const text = this.#wellFormed(field, toCanonicalText(value, field, this.#issues))
    return { text, sha256: text === null ? null : sha256(text) }
  }

  /** Free content with the event's own keys in it, which win; null when both are empty. */
  content(given: Maybe<Record<string, unknown>>, own?: Readonly<Record<string, unknown>>): string | null {
    if (own === undefined) return this.json('content', given)
    const before = this.#issues.length
    const text = this.json('content', merge(given, own), '')
    if (this.#issues.length > before && given !== null && given !== undefined) {
      // The issues are found again with the caller's own paths: `content.x` for content, `x` for the event's own keys.
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

  /** Redacts every text of a record, and notes the hits; what the session stamps is redacted once, at its start. */
  redact(record: EventRecord, stamps: SessionStamps): void {
    if (this.#redactor !== undefined) redactEach(record, stamps, this)
  }

  /** For {@link redactEach}: a field of text. */
  redactText(field: TextField, text: string): string | null {
    const redacted = this.#redactor?.text(field, text)
    return redacted === undefined ? text : this.#note(field, redacted)
  }

  /** For {@link redactEach}: a field of JSON. */
  redactJson(field: TextField, text: string): string | null {
    const redacted = this.#redactor?.json(field, text, field === 'tool_input' ? toCanonical : JSON.stringify)
    return redacted === undefined ? text : this.#note(field, redacted)
  }

  /** For {@link redactEach}: the output of a tool, which is JSON unless the tool returned text. */
  redactOutput(field: TextField, text: string): string | null {
    return this.#output?.isJson === true ? this.redactJson(field, text) : this.redactText(field, text)
  }

  #note(field: string, { text, hits }: Redacted): string | null {
    if (hits !== undefined) this.notes.add(field, 'redacted', hits)
    if (text === null) this.notes.add(field, 'redaction_failed', true)
    return text
  }

  #wellFormed(field: string, text: string | undefined): string | null {
    // Text with JSON in it is full of backslashes, but has few of these two letters.
    if (text === undefined || !text.includes('ud') || !hasLoneSurrogate(text)) return text ?? null
    this.notes.add(field, 'replaced', 'lone surrogates')
    return replaceLoneSurrogates(text)
  }
}
