/**
 * A text of an event under the data key of its subject: `enc:v1:<id of the data key>:<Base64 of nonce, ciphertext and tag>`.
 *
 * AES-256-GCM under a key that is of one data key, one run and one block of its run_seqs: HKDF-SHA256 of the data key. A run is one
 * process, which gives each run_seq once and encrypts each of its fields once, so a key never has more texts than random nonces of
 * 96 bits allow, and nothing has to be counted. The associated data are run, number, event and field: at another place the text does
 * not open.
 *
 * A nonce is a keyed hash of random bytes, the place and the text. A process that is cloned with its memory (a snapshot of a virtual machine)
 * may draw the same random bytes in both clones, under the same key: their texts have different nonces all the same.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
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
const RANDOM_BYTES = 32
const DRAWN_BYTES = 4096
const TAG_BYTES = 16
const KEY_BYTES = 32
/**
 * Run_seqs whose texts are under one key. With ten fields an event these are below 2^32 texts, up to which random nonces of 96 bits
 * repeat with a probability below 2^-32 (NIST SP 800-38D, 8.3).
 */
export const BLOCK_RUN_SEQS: number = 2 ** 28
const FORM = /^enc:v1:([0-9a-f]{32}):([A-Za-z0-9+/]+={0,2})$/

/** Upper bound of the bytes of an encrypted text that had `bytes` bytes of UTF-8. */
export function encryptedBytes(bytes: number): number {
  return PREFIX.length + 33 + 4 * Math.ceil((bytes + NONCE_BYTES + TAG_BYTES) / 3)
}

/** Encrypts and decrypts the texts of one run under one data key. */
export class FieldCipher {
  readonly keyId: string
  readonly #secret: Uint8Array
  readonly #salt: Buffer
  readonly #nonceKey: Buffer
  readonly #digestKey: KeyObject
  #block: { readonly number: number; readonly key: KeyObject } | undefined

  /** @param runId - 32 hex digits. */
  constructor({ id, secret }: DataKey, runId: string) {
    if (secret === undefined) throw new Error('a cipher needs a key: this one was destroyed')
    this.keyId = id
    this.#secret = secret
    this.#salt = Buffer.from(runId, 'hex')
    this.#nonceKey = derived(secret, this.#salt, 'agent-audit nonce/v1').export()
    this.#digestKey = derived(secret, Buffer.alloc(0), 'agent-audit digest/v1')
  }

  encrypt(text: string, place: FieldPlace): string {
    const about = associated(place)
    const bytes = Buffer.from(text)
    const hashed = Buffer.concat([this.#nonceKey, nextRandom(), about, bytes])
    const nonce = hash('sha256', hashed, 'buffer').subarray(0, NONCE_BYTES)
    const cipher = createCipheriv(ALGORITHM, this.#keyOf(place), nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(about)
    const body = Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
    return `${PREFIX}${this.keyId}:${body.toString('base64')}`
  }

  /** @returns undefined: the text is damaged, or is not of this key and place */
  decrypt(encrypted: string, place: FieldPlace): string | undefined {
    const body = Buffer.from(FORM.exec(encrypted)?.[2] ?? '', 'base64')
    if (body.length < NONCE_BYTES + TAG_BYTES) return undefined
    try {
      const decipher = createDecipheriv(ALGORITHM, this.#keyOf(place), body.subarray(0, NONCE_BYTES), {
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

  #keyOf({ runSeq }: FieldPlace): KeyObject {
    const number = Math.floor(Number(runSeq) / BLOCK_RUN_SEQS)
    if (this.#block?.number !== number) {
      this.#block = { number, key: derived(this.#secret, this.#salt, `agent-audit field/v1 ${number}`) }
    }
    return this.#block.key
  }
}

/** The id of the data key of an encrypted text; undefined: it has not the form of one. */
export function keyIdOf(text: string): string | undefined {
  return text.startsWith(PREFIX) ? FORM.exec(text)?.[1] : undefined
}

let random: Buffer = Buffer.alloc(0)
let used = 0

/** Drawn in larger parts: a draw costs as much as the rest of a nonce. */
function nextRandom(): Buffer {
  if (used + RANDOM_BYTES > random.length) {
    random = randomBytes(DRAWN_BYTES)
    used = 0
  }
  used += RANDOM_BYTES
  return random.subarray(used - RANDOM_BYTES, used)
}

function derived(secret: Uint8Array, salt: Uint8Array, info: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', secret, salt, info, KEY_BYTES)))
}

function associated({ runId, runSeq, eventId, field }: FieldPlace): Buffer {
  return Buffer.from(`audit-field/v1\n${runId}\n${runSeq}\n${eventId}\n${field}`)
}
