/** Encrypted fields for readers: clear text where there is a key, a marker where there is none. */
import type { DataKey, DataKeyStore } from './data-keys.ts'
import { FieldCipher, keyIdOf } from './field-cipher.ts'

/** A row of audit_events as it is read: JSON fields are text. */
export type EncryptedRow = Record<string, unknown>

/** The text of a field whose key was destroyed. */
export const ERASED = '[erased]'
/** The text of an encrypted field for a reader without a key store. */
export const ENCRYPTED = '[encrypted]'
/** The key store has neither the key nor its tombstone. */
export const KEY_UNKNOWN = '[encrypted: key unknown]'
/** A text that does not open with its key: changed, or moved from another event or field. */
export const DAMAGED = '[encrypted: damaged or moved]'

/** Member of `content` that has the encrypted ones. */
export const ENCRYPTED_MEMBER = 'encrypted'
/** Stands in user_id before the id of the data key. */
export const PSEUDONYM_PREFIX = 'subject:'

/** Keys and ciphers that are kept. */
const MOST_KEPT = 1000

/** What field_notes says of a field: only a field with such a note is decrypted, so that no clear text passes for an encrypted one. */
interface FieldNote {
  readonly encrypted?: unknown
  readonly erased?: unknown
  readonly pseudonym?: unknown
}

/** Decrypts rows in place. */
export class FieldReader {
  readonly #keys: DataKeyStore | undefined
  readonly #known: Map<string, DataKey> = new Map<string, DataKey>()
  readonly #ciphers: Map<string, FieldCipher> = new Map<string, FieldCipher>()

  /** @param keys - Undefined: encrypted fields are shown as such. */
  constructor(keys?: DataKeyStore) {
    this.#keys = keys
  }

  /** Puts clear text or a marker in the place of each encrypted field. A row without `field_notes` stays as it is. */
  reveal(row: EncryptedRow): void {
    const parsed = notesOf(row)
    if (parsed === undefined) return
    const place = placeOf(row, parsed)
    for (const [field, note] of Object.entries(parsed) as [string, FieldNote | null][]) {
      if (!(field in row) || typeof note !== 'object' || note === null) continue
      if (note.pseudonym === true) row[field] = this.#nameOf(row[field])
      else if (note.erased !== undefined) row[field] = inField(field, ERASED)
      else if (note.encrypted === true) row[field] = this.#revealed(row[field], field, place)
    }
  }

  /**
   * As {@link reveal}, with null in the place of a marker, and without the member `encrypted` of a content: for readers that judge what
   * agents have written, and must take neither ciphertext nor markers for that.
   * @returns the fields that could not be read, or not as a whole
   */
  revealOrOmit(row: EncryptedRow): string[] {
    const parsed = notesOf(row)
    if (parsed === undefined) return []
    const noted = Object.entries(parsed) as [string, FieldNote | null][]
    this.reveal(row)
    return noted.flatMap(([field, note]) => {
      if (!(field in row) || (note?.encrypted !== true && note?.erased === undefined)) return []
      const { hidden, clear } = withoutMarker(row[field])
      if (hidden) row[field] = clear
      return hidden ? [field] : []
    })
  }

  #revealed(value: unknown, field: string, place: Place): unknown {
    if (typeof value !== 'string') return value
    if (!JSON_TEXTS.has(field)) return this.#open(value, field, place)
    const json = parsedOf(value)
    if (typeof json === 'string') return inField(field, this.#open(json, field, place), json)
    const members = objectOf(value)
    const encrypted = members?.[ENCRYPTED_MEMBER]
    if (members === undefined || typeof encrypted !== 'string') return inField(field, DAMAGED)
    const clear = this.#open(encrypted, field, place)
    if (isMarker(clear)) return JSON.stringify({ ...members, [ENCRYPTED_MEMBER]: clear })
    const { [ENCRYPTED_MEMBER]: _, ...others } = members
    // The text as it was, where nothing of it stood beside: also one whose end was cut off.
    return Object.keys(others).length === 0 ? clear : JSON.stringify({ ...objectOf(clear), ...others })
  }

  /** Clear text, or a marker. */
  #open(text: string, field: string, place: Place): string {
    const id = keyIdOf(text)
    if (id === undefined) return DAMAGED
    if (this.#keys === undefined) return ENCRYPTED
    const key = this.#find(id, this.#keys)
    if (key === undefined) return KEY_UNKNOWN
    if (key.secret === undefined) return ERASED
    return this.#cipher(key, place.runId).decrypt(text, { ...place, field }) ?? DAMAGED
  }

  /** Keys come again in the next rows: unwrapping one costs a hundred times what a look for its tombstone does. */
  #find(id: string, keys: DataKeyStore): DataKey | undefined {
    const known = this.#known.get(id)
    if (known !== undefined && !keys.isErased(id)) return known
    this.#known.delete(id)
    const found = keys.find(id)
    if (found?.secret !== undefined) keep(this.#known, id, found)
    return found
  }

  #cipher(key: DataKey, runId: string): FieldCipher {
    const name = `${key.id}/${runId}`
    const found = this.#ciphers.get(name)
    if (found !== undefined) return found
    const cipher = new FieldCipher(key, runId)
    keep(this.#ciphers, name, cipher)
    return cipher
  }

  /** The user's name where its key is there; else the pseudonym. */
  #nameOf(value: unknown): unknown {
    if (typeof value !== 'string' || this.#keys === undefined) return value
    return this.#find(value.slice(PSEUDONYM_PREFIX.length), this.#keys)?.subject?.id ?? value
  }
}

function keep<Value>(map: Map<string, Value>, name: string, value: Value): void {
  if (map.size >= MOST_KEPT) map.clear()
  map.set(name, value)
}

/** Columns whose text is JSON. */
const JSON_TEXTS: ReadonlySet<string> = new Set(['input_messages', 'tool_calls_requested', 'tool_input', 'content'])

/** The notes of a row that has something encrypted. */
function notesOf(row: EncryptedRow): Record<string, unknown> | undefined {
  const notes = row['field_notes']
  if (typeof notes !== 'string' || !/"(encrypted|erased|pseudonym)"/.test(notes)) return undefined
  return objectOf(notes)
}

/** What is left of a field that reveal has marked. */
function withoutMarker(value: unknown): { readonly hidden: boolean; readonly clear: string | null } {
  if (typeof value !== 'string') return { hidden: value === null, clear: null }
  const json = parsedOf(value)
  if (isMarker(value) || (typeof json === 'string' && isMarker(json))) return { hidden: true, clear: null }
  const members = objectOf(value)
  const encrypted = members?.[ENCRYPTED_MEMBER]
  if (members === undefined || typeof encrypted !== 'string' || !isMarker(encrypted))
    return { hidden: false, clear: value }
  const { [ENCRYPTED_MEMBER]: _, ...others } = members
  return { hidden: true, clear: JSON.stringify(others) }
}

interface Place {
  readonly runId: string
  readonly runSeq: number | string
  readonly eventId: string
}

/** A replayed dead letter has its texts of the record before: its note names it. */
function placeOf(row: EncryptedRow, notes: Record<string, unknown>): Place {
  const was = (notes['replay_of'] as { was?: unknown } | undefined)?.was as Record<string, unknown> | undefined
  const { run_id, run_seq, event_id } = was ?? row
  return { runId: String(run_id), runSeq: String(run_seq), eventId: String(event_id) }
}

function isMarker(text: string): boolean {
  return text === ERASED || text === ENCRYPTED || text === KEY_UNKNOWN || text === DAMAGED
}

/** A marker as the text of the field; clear text of a JSON field is JSON already. */
function inField(field: string, text: string, encrypted?: string): string {
  const isClear = encrypted !== undefined && !isMarker(text)
  return JSON_TEXTS.has(field) && !isClear ? JSON.stringify(text) : text
}

function parsedOf(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

function objectOf(json: string): Record<string, unknown> | undefined {
  const value = parsedOf(json)
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}
