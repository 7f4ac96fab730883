/**
 * The file of the key-encryption keys (KEK) that the operator holds: lines `audit-kek/v1 <id> <Base64 of 32 bytes>`. The first one
 * wraps new data keys; the others still unwrap, until a rotation has ended.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { InvalidInputError } from '@agent-audit/schemas'
import { readKeyFile } from '@agent-audit/seals'

export interface Kek {
  /** 8 hex digits, by its bytes. */
  readonly id: string
  readonly secret: Buffer
}

const ALGORITHM = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16
const LINE = /^audit-kek\/v1 ([0-9a-f]{8}) ([A-Za-z0-9+/]{43}=)$/

/** A line of the file, with a new key. */
export function newKekLine(): string {
  const secret = randomBytes(32)
  return `audit-kek/v1 ${kekId(secret)} ${secret.toString('base64')}`
}

/**
 * Reads the file, whose mode must be 0600 or 0400 and whose owner must be this process's user or root.
 * @returns at least one
 * @throws InvalidInputError `KEY_INVALID`
 */
export function readKeks(path: string): readonly [Kek, ...Kek[]] {
  const lines = readKeyFile(path).trimEnd().split('\n')
  const keks = lines.map((line, index) => {
    const [, id = '', base64 = ''] = LINE.exec(line) ?? []
    const secret = Buffer.from(base64, 'base64')
    if (id !== '' && id === kekId(secret)) return { id, secret }
    const expected = 'expected "audit-kek/v1 <id> <Base64 of 32 bytes>", where the id is that of the key'
    throw new InvalidInputError('KEY_INVALID', `${path}: line ${index + 1}: ${expected}`)
  })
  return keks as [Kek, ...Kek[]]
}

/** The text of a file with these keys. */
export function formatKeks(keks: readonly Kek[]): string {
  return keks.map(({ id, secret }) => `audit-kek/v1 ${id} ${secret.toString('base64')}\n`).join('')
}

/** `<id of the KEK> <Base64>`: what `unwrap` reads with the same `about`. */
export function wrap({ id, secret }: Kek, plain: Uint8Array, about: string): string {
  // A KEK wraps as many values as there are subjects: far below 2^32 random nonces.
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(ALGORITHM, secret, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(about))
  const body = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  return `${id} ${body.toString('base64')}`
}

/** @throws InvalidInputError `KEY_INVALID`, naming `source` */
export function unwrap(keks: readonly Kek[], wrapped: string, about: string, source: string): Buffer {
  const [id = '', base64 = ''] = wrapped.split(' ')
  const kek = keks.find((each) => each.id === id)
  if (kek === undefined) {
    const found = keks.map((each) => each.id).join(', ')
    throw new InvalidInputError('KEY_INVALID', `${source}: expected the KEK ${id}, found ${found}`)
  }
  const body = Buffer.from(base64, 'base64')
  try {
    const decipher = createDecipheriv(ALGORITHM, kek.secret, body.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(Buffer.from(about))
    decipher.setAuthTag(body.subarray(-TAG_BYTES))
    return Buffer.concat([decipher.update(body.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
  } catch (cause) {
    throw new InvalidInputError('KEY_INVALID', `${source}: damaged, or wrapped under another key`, { cause })
  }
}

function kekId(secret: Buffer): string {
  return createHash('sha256').update('audit-kek/v1\n').update(secret).digest('hex').slice(0, 8)
}
