/** Data keys: one for each subject, the person or session whose texts are encrypted under it. */

/** Person or session whose texts are encrypted under one key. */
export interface Subject {
  /** `user`: a person. `session`: a session without one. */
  readonly kind: 'user' | 'session'
  /** The person's id as the events have it, or the session_id. */
  readonly id: string
}

/** The key of a subject. Destroying it is the erasure. */
export interface DataKey {
  /** 32 hex digits: a keyed hash of the subject. It stands in the events, and stays there after an erasure. */
  readonly id: string
  /** 32 bytes; undefined: the subject was erased. */
  readonly secret: Uint8Array | undefined
  /** The subject, where the store keeps its name beside the key. */
  readonly subject?: Subject | undefined
}

/**
 * Where data keys are. All of it is synchronous, since a caller's texts are encrypted on its own thread; producers keep the keys that
 * they use in memory, and ask again after a second.
 */
export interface DataKeyStore {
  /** The key of a subject, made if it has none; without a secret if the subject was erased. Throws if the store cannot be used. */
  keyFor(subject: Subject): DataKey
  /** The key with this id; undefined: the store never had it. Throws if the store cannot be used. */
  find(id: string): DataKey | undefined
  /** Whether the key was destroyed: cheap, asked by producers about keys that they hold. */
  isErased(id: string): boolean
}

export const DATA_KEY_BYTES = 32
export const DATA_KEY_ID: RegExp = /^[0-9a-f]{32}$/
