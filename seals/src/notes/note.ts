/** Signed notes of C2SP (c2sp.org/signed-note): a text, an empty line, and lines `— <key name> <Base64 of key id and signature>`. */
import { hash } from 'node:crypto'
import { IntegrityError } from '@agent-audit/schemas'
import { fromBase64, invalid, quoted } from './lines.ts'
import { idText, KEY_ID_BYTES, keyNameFault, type Verified, type VerifierKey } from './verifier-key.ts'

/** A leaf of the seal log: its length has two bytes in an entry bundle of C2SP's tiles. */
export const MAX_NOTE_BYTES = 65_535
export const MAX_SIGNATURES = 64

export interface NoteSignature {
  readonly keyName: string
  readonly keyId: number
  /** The signature without the key id. */
  readonly bytes: Buffer
}

export interface Note {
  /** With the line feed at its end. This is what is signed. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** The note in bytes of the log. @throws IntegrityError with code SEAL_INVALID, if they are not UTF-8 */
export function readNote(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalid('note: expected UTF-8')
  }
}

/** SHA-256 over the whole note, signatures too. */
export function noteHash(note: string): Buffer {
  return hash('sha256', note, 'buffer')
}

/** @throws IntegrityError with code SEAL_INVALID */
export function parseNote(note: string): Note {
  const bytes = Buffer.byteLength(note)
  if (bytes > MAX_NOTE_BYTES) throw invalid(`note: expected at most ${MAX_NOTE_BYTES} bytes, found ${bytes}`)
  checkCharacters(note)
  const end = note.lastIndexOf('\n\n')
  if (end === -1) throw invalid('note: expected an empty line between text and signatures')
  const lines = note.slice(end + 2)
  if (lines === '') throw invalid('note: expected a signature line behind the empty line, found the end')
  if (!lines.endsWith('\n')) throw invalid('note: expected a line feed at its end')
  const signatures = lines.slice(0, -1).split('\n').map(parseSignature)
  if (signatures.length > MAX_SIGNATURES) throw invalid(`note: expected at most ${MAX_SIGNATURES} signatures`)
  return { text: note.slice(0, end + 1), signatures }
}

/** Puts signature lines below a text. @throws IntegrityError with code SEAL_INVALID */
export function formatNote(text: string, lines: readonly string[]): string {
  checkText(text)
  return `${text}\n${lines.join('')}`
}

/** A signature line, with its line feed. */
export function signatureLine(key: VerifierKey, signature: Uint8Array): string {
  const bytes = Buffer.alloc(KEY_ID_BYTES + signature.length)
  bytes.writeUInt32BE(key.id)
  bytes.set(signature, KEY_ID_BYTES)
  return `— ${key.name} ${bytes.toString('base64')}\n`
}

/** Whether a text can be signed. @throws IntegrityError with code SEAL_INVALID */
export function checkText(text: string): void {
  checkCharacters(text)
  if (!text.endsWith('\n')) throw invalid('note: expected a line feed at the end of its text')
}

function checkCharacters(text: string): void {
  if (!text.isWellFormed()) throw invalid('note: expected UTF-8, found half of a surrogate pair')
  // eslint-disable-next-line no-control-regex
  const at = text.search(/[\u0000-\u0009\u000b-\u001f]/)
  if (at === -1) return
  const line = text.slice(0, at).split('\n').length
  throw invalid(`note, line ${line}: expected no control character but line feeds, found ${quoted(text.charAt(at))}`)
}

function parseSignature(line: string): NoteSignature {
  const [dash, keyName = '', encoded = '', ...more] = line.split(' ')
  if (dash !== '—' || more.length > 0) {
    throw invalid(`note: expected a signature line "\\u2014 <key name> <Base64>", found ${quoted(line)}`)
  }
  const fault = keyNameFault(keyName)
  if (fault !== undefined) throw invalid(`note: in a signature line ${fault}`)
  const bytes = fromBase64(encoded)
  if (bytes === undefined || bytes.length <= KEY_ID_BYTES) {
    throw invalid(`note: expected Base64 of a key id and a signature by ${quoted(keyName)}, found ${quoted(encoded)}`)
  }
  return { keyName, keyId: bytes.readUInt32BE(0), bytes: bytes.subarray(KEY_ID_BYTES) }
}

/** A note that one known key at least has signed. */
export interface VerifiedNote extends Note {
  /** The signatures of known keys, each key once. Those of unknown keys count for nothing. */
  readonly verified: readonly [Verified, ...Verified[]]
}

/**
 * Checks the signatures of all keys that are known.
 * @throws IntegrityError with code SEAL_INVALID; SIGNATURE_INVALID, if a known key's signature is wrong or no key is known
 */
export function verifyNote(note: string, keys: readonly VerifierKey[]): VerifiedNote {
  const parsed = parseNote(note)
  const verified = new Map<VerifierKey, Verified>()
  for (const signature of parsed.signatures) {
    const key = keys.find(({ name, id }) => name === signature.keyName && id === signature.keyId)
    if (key === undefined) continue
    const found = key.verify(parsed.text, signature.bytes)
    if (found === undefined) throw wrong(`the signature by ${quoted(key.name)} (key id ${idText(key.id)}) is wrong`)
    if (!verified.has(key)) verified.set(key, found)
  }
  const [first, ...others] = verified.values()
  if (first !== undefined) return { ...parsed, verified: [first, ...others] }
  const names = parsed.signatures.map(({ keyName, keyId }) => `${quoted(keyName)} (key id ${idText(keyId)})`)
  throw wrong(`no known key has signed it, only ${names.slice(0, 3).join(', ')}`)
}

function wrong(message: string): IntegrityError {
  return new IntegrityError('SIGNATURE_INVALID', `note: ${message}`)
}
