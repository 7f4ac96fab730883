/** Public keys of signed notes, as C2SP writes them: `<name>+<key id, 8 hex digits>+<Base64 of type and key>`. */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { fromBase64, invalid, quoted } from './lines.ts'

/** Types of signatures: Ed25519 over the text, and the cosignature of a checkpoint, which has a signed time. */
export const ED25519 = 0x01
export const COSIGNATURE = 0x04
export type SignatureType = typeof ED25519 | typeof COSIGNATURE

export const PUBLIC_KEY_BYTES = 32
export const KEY_ID_BYTES = 4
const SIGNATURE_BYTES = 64
const TIME_BYTES = 8
/** SubjectPublicKeyInfo of an Ed25519 key without its 32 bytes (RFC 8410). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex')

/** What is wrong with a key name; undefined: nothing. */
export function keyNameFault(name: string): string | undefined {
  if (name === '') return 'expected a key name that is not empty'
  // eslint-disable-next-line no-control-regex
  if (!name.isWellFormed() || /[\p{White_Space}+\u0000-\u001f\u007f]/u.test(name)) {
    return `expected a key name without spaces, plus signs and control characters, found ${quoted(name)}`
  }
  return undefined
}

/** The key name of a producer, consumer or notary: its id, percent-encoded. A lone surrogate counts as U+FFFD, as in the record. */
export function keyNameOf(id: string): string {
  return encodeURIComponent(id.toWellFormed())
}

/** The id of a key name. @returns undefined, if the name is no id in its one encoded form */
export function idOfKeyName(name: string): string | undefined {
  try {
    const id = decodeURIComponent(name)
    return id !== '' && encodeURIComponent(id) === name ? id : undefined
  } catch {
    return undefined
  }
}

export function keyIdOf(name: string, type: SignatureType, publicKey: Uint8Array): number {
  const hash = createHash('sha256').update(`${name}\n`).update(Buffer.of(type)).update(publicKey).digest()
  return hash.readUInt32BE(0)
}

/** The bytes that a cosignature signs: the time in seconds since 1970, and the text of a checkpoint. */
export function cosignedMessage(text: string, seconds: number | bigint): Buffer {
  return Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`)
}

/** A signature that a key has verified. */
export interface Verified {
  readonly key: VerifierKey
  /** Of a cosignature: its signed time, seconds since 1970. */
  readonly seconds: number | undefined
}

export class VerifierKey {
  readonly name: string
  readonly type: SignatureType
  readonly publicKey: Buffer
  readonly id: number
  #key: KeyObject | undefined

  constructor(name: string, publicKey: Uint8Array, type: SignatureType = ED25519) {
    const fault = keyNameFault(name)
    if (fault !== undefined) throw invalid(`verifier key: ${fault}`)
    if (publicKey.length !== PUBLIC_KEY_BYTES) throw invalid(`verifier key: expected ${PUBLIC_KEY_BYTES} bytes of key`)
    this.name = name
    this.type = type
    this.publicKey = Buffer.from(publicKey)
    this.id = keyIdOf(name, type, publicKey)
  }

  /** @throws IntegrityError with code SEAL_INVALID */
  static parse(vkey: string): VerifierKey {
    const parts = vkey.split('+')
    const [name = '', id = ''] = parts
    // Base64 may have plus signs of its own.
    const material = fromBase64(parts.slice(2).join('+'))
    if (material === undefined || parts.length < 3) {
      throw invalid(`verifier key: expected <name>+<8 hex digits>+<Base64>, found ${quoted(vkey)}`)
    }
    const type = material[0]
    if ((type !== ED25519 && type !== COSIGNATURE) || material.length !== 1 + PUBLIC_KEY_BYTES) {
      throw invalid(`verifier key ${quoted(name)}: expected an Ed25519 key of type 1 or 4`)
    }
    const key = new VerifierKey(name, material.subarray(1), type)
    if (idText(key.id) !== id) {
      throw invalid(`verifier key ${quoted(name)}: expected the key id ${idText(key.id)}, found ${quoted(id)}`)
    }
    return key
  }

  get vkey(): string {
    const material = Buffer.concat([Buffer.of(this.type), this.publicKey])
    return `${this.name}+${idText(this.id)}+${material.toString('base64')}`
  }

  /** The same key as a signer of checkpoint cosignatures. */
  get cosigner(): VerifierKey {
    return new VerifierKey(this.name, this.publicKey, COSIGNATURE)
  }

  /** @returns undefined, if the signature is not of this key over this text */
  verify(text: string, signature: Uint8Array): Verified | undefined {
    const bytes = Buffer.from(signature)
    if (this.type === ED25519) {
      return this.#verifies(Buffer.from(text), bytes) ? { key: this, seconds: undefined } : undefined
    }
    if (bytes.length !== TIME_BYTES + SIGNATURE_BYTES) return undefined
    const seconds = bytes.readBigUInt64BE(0)
    if (seconds > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
    const signed = this.#verifies(cosignedMessage(text, seconds), bytes.subarray(TIME_BYTES))
    return signed ? { key: this, seconds: Number(seconds) } : undefined
  }

  #verifies(message: Uint8Array, signature: Uint8Array): boolean {
    this.#key ??= createPublicKey({ key: Buffer.concat([SPKI, this.publicKey]), format: 'der', type: 'spki' })
    return signature.length === SIGNATURE_BYTES && verify(null, message, this.#key, signature)
  }
}

export function idText(id: number): string {
  return id.toString(16).padStart(2 * KEY_ID_BYTES, '0')
}
