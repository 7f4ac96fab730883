/** Encryption of an event's texts under a key of its subject: what can be erased later (docs/erasure.md). */
import type { DataKeyStore, FileKeyStoreOptions } from '@agent-audit/erasure'

/** A field that can be encrypted; `user_id` is recorded as a pseudonym, `subject:` and the id of the data key. */
export type EncryptedField =
  | 'reason'
  | 'reasoning'
  | 'output_text'
  | 'input_messages'
  | 'tool_calls_requested'
  | 'tool_input'
  | 'tool_output'
  | 'error'
  | 'content'
  | 'user_id'

/** Which texts are encrypted, and under whose keys. */
export interface EncryptionOptions {
  /**
   * The store of the data keys: a folder of this machine, which `agent-audit data-keys init` makes, with the file of the operator's
   * key-encryption key (mode 0600); or a store of the caller. If it cannot be opened: `OPTIONS_INVALID`.
   */
  keys: DataKeyStore | FileKeyStoreOptions
  /** @defaultValue all but `reason` and `user_id` */
  fields?: readonly EncryptedField[] | undefined
  /**
   * The subject of an event: under the key of this person its texts are encrypted. MUST give the same text for the same person, and
   * give it at once. It throws, or gives no text: the session is the subject.
   * @defaultValue its user_id, as it is recorded; of an event without one the session
   */
  subject?: ((event: EventNames) => string | null | undefined) | undefined
}

/** What `subject` sees of an event. */
export interface EventNames {
  /** `user_message`, `tool_call` and the like. */
  readonly event_type: string
  /** As it is recorded. */
  readonly session_id: string
  /** As it is recorded. */
  readonly agent_id: string
  /** As it is recorded, after redaction; null: the session has no user. */
  readonly user_id: string | null
}
