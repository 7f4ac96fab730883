/**
 * Encrypts the texts of a record under the data key of its subject (docs/erasure.md). In two steps: `prepare` finds the key before the
 * record is measured and numbered, `apply` encrypts when it has its number, which each text is bound to.
 *
 * A text is never recorded in clear because its key is missing: it is left out, and field_notes say so.
 */
import { ENCRYPTED_MEMBER, encryptedBytes, FieldCipher, PSEUDONYM_PREFIX, type Subject } from '@agent-audit/erasure'
import { type Approval, AuditUnavailableError, JSON_FIELDS } from '@agent-audit/schemas'
import type { EncryptedField } from '../api/encryption.ts'
import type { Encryption } from '../options/encryption.ts'
import type { EventRecord } from './event-record.ts'
import type { FieldNotes, FieldWriter } from './field-writer.ts'
import type { Growth } from './fit-record.ts'

/** An erasure by another process takes effect on a key that this one holds so much later. */
const RECHECK_MS = 1000
/** Subjects whose keys are held; the one that was used longest ago goes. */
const MOST_SUBJECTS = 1000
/** More than the pseudonym, the quotes of a JSON text or the object around the encrypted content. */
const FORM_BYTES = 64
const JSON_TEXTS: ReadonlySet<string> = new Set<string>(JSON_FIELDS)

/**
 * Members of `content` that the producer writes for machines: they stay in clear, else no reader without keys could tell when an
 * approval expires, or where a run goes on.
 */
const CLEAR_MEMBERS: ReadonlyMap<string, readonly string[]> = new Map([
  ['approval_request', ['expires_at']],
  ['human_intervention', ['expires_at']],
  ['session_resumed', ['from_run_id']],
  ['tool_result', ['untrusted', 'error_code']],
  ['llm_call', ['error_code']],
  ['error', ['error_code']],
])

/** Digests of texts that are encrypted; arguments are compared by theirs, so equal ones stay equal. */
const DIGESTS = [
  { field: 'arguments_sha256', of: 'tool_input' },
  { field: 'output_sha256', of: 'tool_output' },
] as const
type Digest = (typeof DIGESTS)[number]

/** The key of a subject, as this process knows it. */
interface Held {
  readonly keyId: string
  /** Undefined: the subject was erased. */
  readonly cipher: FieldCipher | undefined
  checkedMs: number
}

/** The texts of one record that are to be encrypted. */
export interface PreparedEncryption extends Growth {
  /** Of the numbered record. */
  readonly apply: (record: EventRecord) => void
}

export class FieldEncryption {
  readonly #encryption: Encryption
  readonly #runId: string
  readonly #report: (problem: unknown) => void
  readonly #held: Map<string, Held> = new Map<string, Held>()

  /** @param runId - 32 hex digits. */
  constructor(encryption: Encryption, runId: string, report: (problem: unknown) => void) {
    this.#encryption = encryption
    this.#runId = runId
    this.#report = report
  }

  /**
   * Notes which texts of the record are encrypted, and leaves out those whose key is destroyed or cannot be had.
   * @returns undefined: nothing is to be encrypted. The trail's own events have no subject.
   */
  prepare(record: EventRecord, writer: FieldWriter): PreparedEncryption | undefined {
    if (record.session_id === `trail:${this.#runId}`) return undefined
    const { fields: all } = this.#encryption
    const fields = all.filter((field) => record[field] !== null)
    // A decision on a call has the digest of its arguments without the arguments.
    const digests = DIGESTS.filter(({ of, field }) => all.includes(of) && (record[field] !== null || writer.hasOutput))
    const approval = all.includes('tool_input') ? record.approval : null
    if (fields.length === 0 && digests.length === 0 && approval === null) return undefined
    const held = this.#keyOf(record)
    for (const field of fields) note(record, writer.notes, { field, held })
    if (approval?.includes('"signature"') === true && held?.cipher !== undefined) {
      writer.notes.add('approval', 'encrypted', true)
    }
    return new Prepared({ fields, digests, approval, held, runId: this.#runId })
  }

  /** Undefined: the key cannot be had, which was reported. */
  #keyOf(record: EventRecord): Held | undefined {
    try {
      return this.#hold(this.#subjectOf(record))
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      const message = `texts of ${record.event_type} events are left out, since they cannot be encrypted: ${why}`
      this.#report(new AuditUnavailableError('KEY_STORE_UNAVAILABLE', message, { cause }))
      return undefined
    }
  }

  #subjectOf({ event_type, session_id, agent_id, user_id }: EventRecord): Subject {
    const { subject } = this.#encryption
    const id = subject === undefined ? user_id : subject({ event_type, session_id, agent_id, user_id })
    if (id === null || id === undefined || id === '') return { kind: 'session', id: session_id }
    if (typeof id === 'string') return { kind: 'user', id: id.toWellFormed() }
    throw new TypeError('encryption.subject: expected a text, null or undefined')
  }

  #hold(subject: Subject): Held {
    const { keys } = this.#encryption
    const name = `${subject.kind} ${subject.id}`
    const now = performance.now()
    const known = this.#held.get(name)
    if (known !== undefined) {
      if (now - known.checkedMs < RECHECK_MS) return known
      if (known.cipher !== undefined && !keys.isErased(known.keyId)) {
        known.checkedMs = now
        return known
      }
    }
    const key = keys.keyFor(subject)
    const cipher = key.secret === undefined ? undefined : new FieldCipher(key, this.#runId)
    const held = { keyId: key.id, cipher, checkedMs: now }
    this.#held.delete(name)
    this.#held.set(name, held)
    for (const oldest of this.#held.keys()) {
      if (this.#held.size <= MOST_SUBJECTS) break
      this.#held.delete(oldest)
    }
    return held
  }
}

interface Noted {
  readonly field: EncryptedField
  readonly held: Held | undefined
}

function note(record: EventRecord, notes: FieldNotes, { field, held }: Noted): void {
  if (field === 'user_id' && held !== undefined) return notes.add(field, 'pseudonym', true)
  if (held?.cipher !== undefined) return notes.add(field, 'encrypted', true)
  record[field] = null
  if (held === undefined) notes.add(field, 'encryption_failed', true)
  else notes.add(field, 'erased', held.keyId)
}

interface Texts {
  readonly fields: readonly EncryptedField[]
  readonly digests: readonly Digest[]
  /** JSON; null: nothing of it has a digest of an encrypted text. */
  readonly approval: string | null
  readonly held: Held | undefined
  readonly runId: string
}

class Prepared implements PreparedEncryption {
  readonly #fields: readonly EncryptedField[]
  readonly #digests: readonly Digest[]
  readonly #approval: string | null
  readonly #held: Held | undefined
  readonly #runId: string

  constructor({ fields, digests, approval, held, runId }: Texts) {
    this.#fields = fields
    this.#digests = digests
    this.#approval = approval
    this.#held = held
    this.#runId = runId
  }

  has(field: string): boolean {
    return (this.#fields as readonly string[]).includes(field)
  }

  bytes(record: EventRecord, bytesOf: (text: string) => number): number {
    let bytes = this.#approval === null ? 0 : encryptedBytes(bytesOf(this.#approval)) + FORM_BYTES
    for (const field of this.#fields) {
      const text = record[field]
      if (text === null) continue
      // Members of content that stay in clear count twice.
      const gone = field === 'content' ? 0 : bytesOf(text)
      bytes += encryptedBytes(bytesOf(text)) + FORM_BYTES - gone
    }
    return bytes
  }

  readonly apply = (record: EventRecord): void => {
    const cipher = this.#held?.cipher
    for (const field of this.#fields) {
      const text = record[field]
      if (text === null) continue
      if (field === 'user_id') record.user_id = `${PSEUDONYM_PREFIX}${this.#held?.keyId ?? ''}`
      else if (cipher !== undefined) record[field] = this.#encrypted(cipher, record, { field, text })
    }
    for (const { field } of this.#digests) record[field] = keyed(cipher, record[field])
    if (this.#approval !== null) record.approval = this.#approvalOf(cipher, record, this.#approval)
  }

  /** An approval has the digest of what was shown, and its signature has that of the arguments: neither may stay plain. */
  #approvalOf(cipher: FieldCipher | undefined, record: EventRecord, json: string): string {
    const members = objectOf(json) as Approval | undefined
    // A rule of redaction has removed the whole of it.
    if (members === undefined) return json
    const { shown_sha256: shown, signature, ...others } = members
    const digest = shown === undefined ? null : keyed(cipher, Buffer.from(shown, 'hex'))
    const place = { runId: this.#runId, runSeq: record.run_seq, eventId: record.event_id, field: 'approval' }
    return JSON.stringify({
      ...others,
      ...(digest === null ? {} : { shown_sha256: Buffer.from(digest).toString('hex') }),
      ...(signature === undefined || cipher === undefined ? {} : { signature: cipher.encrypt(signature, place) }),
    })
  }

  #encrypted(
    cipher: FieldCipher,
    record: EventRecord,
    { field, text }: { readonly field: EncryptedField; readonly text: string },
  ): string {
    const encrypt = (clear: string): string =>
      cipher.encrypt(clear, { runId: this.#runId, runSeq: record.run_seq, eventId: record.event_id, field })
    if (field === 'content') return content(record.event_type, text, encrypt)
    return JSON_TEXTS.has(field) ? `"${encrypt(text)}"` : encrypt(text)
  }
}

/** A digest of a text could be guessed where the text is short: it goes with the key. */
function keyed(cipher: FieldCipher | undefined, digest: Uint8Array | null): Uint8Array | null {
  return digest === null || cipher === undefined ? null : cipher.keyedDigest(digest)
}

/** An object, as readers expect; its members that machines read stay. */
function content(eventType: string, text: string, encrypt: (clear: string) => string): string {
  const names = CLEAR_MEMBERS.get(eventType) ?? []
  if (names.length === 0 || !names.some((name) => text.includes(`"${name}"`))) {
    return `{"${ENCRYPTED_MEMBER}":"${encrypt(text)}"}`
  }
  const members = objectOf(text)
  const clear = Object.fromEntries(Object.entries(members ?? {}).filter(([name]) => names.includes(name)))
  const others = Object.fromEntries(Object.entries(members ?? {}).filter(([name]) => !names.includes(name)))
  if (members === undefined) return `{"${ENCRYPTED_MEMBER}":"${encrypt(text)}"}`
  return JSON.stringify({ [ENCRYPTED_MEMBER]: encrypt(JSON.stringify(others)), ...clear })
}

/** Undefined: its end was cut off. */
function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
