/** Private keys: PKCS8 PEM with the key's name in a line `Key-Name: <name>` before it (RFC 7468 allows text there). */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { type Environment, InvalidInputError } from '@agent-audit/schemas'
import { quoted } from '../notes/lines.ts'
import { checkText, formatNote, signatureLine } from '../notes/note.ts'
import { cosignedMessage, keyNameFault, PUBLIC_KEY_BYTES, VerifierKey } from '../notes/verifier-key.ts'

/** Signs texts with the key of one name. */
export interface NoteSigner {
  readonly keyName: string
  readonly vkey: string
  /** @returns the whole signed note: at once with a key in this process, later with a signer in another */
  sign(text: string): string | Promise<string>
}

const NAME_LINE = /^Key-Name: (.*)$/m
const MAX_BYTES = 16_384

/** A key in this process. */
export class KeySigner implements NoteSigner {
  readonly key: VerifierKey
  readonly #private: KeyObject

  constructor(keyName: string, privateKey: KeyObject) {
    this.#private = privateKey
    const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
    this.key = new VerifierKey(keyName, spki.subarray(-PUBLIC_KEY_BYTES))
  }

  get keyName(): string {
    return this.key.name
  }

  get vkey(): string {
    return this.key.vkey
  }

  sign(text: string): string {
    return formatNote(text, [this.signatureLine(text)])
  }

  signatureLine(text: string): string {
    checkText(text)
    return signatureLine(this.key, sign(null, Buffer.from(text), this.#private))
  }

  /** The line of a timestamped cosignature (c2sp.org/tlog-cosignature) of a checkpoint's text. */
  cosignatureLine(text: string, seconds: number): string {
    checkText(text)
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(seconds))
    const signature = sign(null, cosignedMessage(text, seconds), this.#private)
    return signatureLine(this.key.cosigner, Buffer.concat([time, signature]))
  }
}

/** A new key, as the text of its file. */
export function generateKey(keyName: string): string {
  const fault = keyNameFault(keyName)
  if (fault !== undefined) throw new InvalidInputError('KEY_INVALID', fault)
  const pem = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' })
  return `Key-Name: ${keyName}\n${pem.toString()}`
}

/**
 * Reads a key file, whose mode must be 0600 or 0400 and whose owner must be this process's user or root.
 * @param keyName - The name that the key must have; needed for a file without a line `Key-Name`.
 * @throws InvalidInputError with code KEY_INVALID
 */
export function openKeyFile(path: string, keyName?: string): KeySigner {
  return signerFromPem(readKeyFile(path), keyName, path)
}

/**
 * @param keyName - The name that the key must have; needed for a text without a line `Key-Name`.
 * @param source - Names the text in errors.
 * @throws InvalidInputError with code KEY_INVALID
 */
export function signerFromPem(pem: string, keyName?: string, source = 'key'): KeySigner {
  const refuse = (expected: string): never => {
    throw new InvalidInputError('KEY_INVALID', `${source}: ${expected}`)
  }
  const inText = NAME_LINE.exec(pem)?.[1]?.trim()
  if (inText !== undefined && keyName !== undefined && inText !== keyName) {
    refuse(`expected the key of ${quoted(keyName)}, found the key of ${quoted(inText)}`)
  }
  const name = inText ?? keyName ?? refuse('expected a line "Key-Name: <name>" before the PEM text')
  const fault = keyNameFault(name)
  if (fault !== undefined) refuse(fault)
  return new KeySigner(name, readPrivateKey(pem) ?? refuse(PEM_EXPECTED))
}

/**
 * The key of the variable NAME, which holds the text of a key file, or of the file that NAME_FILE names. In a variable `\n` may stand
 * for a line feed.
 * @param keyName - As for {@link openKeyFile}.
 * @returns undefined, if neither is set
 * @throws InvalidInputError with code KEY_INVALID
 */
export function keyFromEnvironment(env: Environment, name: string, keyName?: string): KeySigner | undefined {
  const [text, file] = [env[name] ?? '', env[`${name}_FILE`] ?? '']
  if (text !== '' && file !== '') {
    throw new InvalidInputError('KEY_INVALID', `${name}: expected either ${name} or ${name}_FILE, not both`)
  }
  if (file !== '') return openKeyFile(file, keyName)
  return text === '' ? undefined : signerFromPem(text.replaceAll('\\n', '\n'), keyName, name)
}

const PEM_EXPECTED =
  'expected an Ed25519 private key without a password as PKCS8 PEM, which has a line -----BEGIN PRIVATE KEY-----'

function readPrivateKey(pem: string): KeyObject | undefined {
  if (!pem.includes('-----BEGIN PRIVATE KEY-----')) return undefined
  try {
    const key = createPrivateKey(pem)
    return key.asymmetricKeyType === 'ed25519' ? key : undefined
  } catch {
    return undefined
  }
}

/**
 * The text of a file of secret keys: a regular file, mode 0600 or 0400, of this process's user or root. One of root may also be
 * readable by a group of this process (0640 or 0440).
 * @throws InvalidInputError with code KEY_INVALID
 */
export function readKeyFile(path: string): string {
  const refuse = (message: string, cause?: unknown): never => {
    throw new InvalidInputError('KEY_INVALID', `${path}: ${message}`, { cause })
  }
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    return refuse(`cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`, error)
  }
  try {
    // Of the open file: its name may lead to another one a moment later.
    const { mode, uid, gid, size } = fstatSync(file)
    const found = (mode & 0o777).toString(8).padStart(4, '0')
    if ((mode & 0o170000) !== 0o100000) refuse('expected a regular file')
    // Kubernetes gives the files of a secret to root, and the right to read to the pod's own group.
    const isOfGroup = uid === 0 && process.getuid?.() !== 0 && process.getgroups?.().includes(gid) === true
    if ((mode & (isOfGroup ? 0o137 : 0o177)) !== 0)
      refuse(`expected mode 0600 or 0400, found ${found}: others could read the private key`)
    const user = process.getuid?.()
    if (user !== undefined && uid !== user && uid !== 0) {
      refuse(`expected a file of user ${user}, found one of user ${uid}, who could exchange the key`)
    }
    if (size > MAX_BYTES) refuse(`expected at most ${MAX_BYTES} bytes, found ${size}`)
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}
