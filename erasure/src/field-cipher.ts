/**
 * A text of an event under the data key of its subject: `enc:v1:<id of the data key>:<Base64 of nonce, ciphertext and tag>`.
 *
 * AES-256-GCM under a key that is of one data key and one run: HKDF-SHA256 of the data key, with the run_id as salt. A run is one
 * process, so this process counts what it encrypts under that key: never 2^32 values, with a random nonce of 96 bits each. The
 * associated data are run, number, event and field: at another place the text does not open.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import type { DataKey } from './data-keys.ts'

/** Where a text stands. */
export interface FieldPlace {
  /** 32 hex digits. */
  readonly runId: string
  readonly runSeq: number | string
  readonly eventId: string
  readonly field: string
}

const PREFIX = 'enc:v1:'
const ALGORITHM = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16
const KEY_BYTES = 32
/** NIST SP 800-38D, 8.3: random nonces of 96 bits repeat with a probability below 2^-32 up to here. */
const MOST_VALUES = 2 ** 32
const FORM = /^enc:v1:([0-9a-f]{32}):([A-Za-z0-9+/]+={0,2})$/

/** Upper bound of the bytes of an encrypted text that had `bytes` bytes of UTF-8. */
export function encryptedBytes(bytes: number): number {
  return PREFIX.length + 33 + 4 * Math.ceil((bytes + NONCE_BYTES + TAG_BYTES) / 3)
}

/** Encrypts and decrypts the texts of one run under one data key. */
export class FieldCipher {
  readonly keyId: string
  readonly #key: KeyObject
  readonly #digestKey: KeyObject
  #left = MOST_VALUES

  /** @param runId - 32 hex digits. */
  constructor({ id, secret }: DataKey, runId: string) {
    if (secret === undefined) throw new Error('a cipher needs a key: this one was destroyed')
    this.keyId = id
    this.#key = derived(secret, Buffer.from(runId, 'hex'), 'agent-audit field/v1')
    this.#digestKey = derived(secret, Buffer.alloc(0), 'agent-audit digest/v1')
  }

  encrypt(text: string, place: FieldPlace): string {
    if (--this.#left < 0) throw new Error('2^32 texts were encrypted under one key: begin another run')
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(associated(place))
    const body = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
    return `${PREFIX}${this.keyId}:${body.toString('base64')}`
  }

  /** @returns undefined: the text is damaged, or is not of this key and place */
  decrypt(encrypted: string, place: FieldPlace): string | undefined {
    const body = Buffer.from(FORM.exec(encrypted)?.[2] ?? '', 'base64')
    if (body.length < NONCE_BYTES + TAG_BYTES) return undefined
    try {
      const decipher = createDecipheriv(ALGORITHM, this.#key, body.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      })
      decipher.setAAD(associated(place))
      decipher.setAuthTag(body.subarray(-TAG_BYTES))
      const text = decipher.update(body.subarray(NONCE_BYTES, -TAG_BYTES))
      return Buffer.concat([text, decipher.final()]).toString('utf8')
    } catch {
      return undefined
    }
  }

  /**
   * A digest that follows from it only with the key: what a plain one is of can be guessed, where there are few candidates. Equal
   * digests of a subject stay equal, in each run.
   */
  keyedDigest(digest: Uint8Array): Uint8Array {
    return createHmac('sha256', this.#digestKey).update(digest).digest()
  }
}

/** The id of the data key of an encrypted text; undefined: it has not the form of one. */
export function keyIdOf(text: string): string | undefined {
  return text.startsWith(PREFIX) ? FORM.exec(text)?.[1] : undefined
}

function derived(secret: Uint8Array, salt: Uint8Array, info: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret, salt, info, KEY_BYTES)))
}

function associated({ runId, runSeq, eventId, field }: FieldPlace): Buffer {
  return Buffer.from(`audit-field/v1\n${runId}\n${runSeq}\n${eventId}\n${field}`)
}
