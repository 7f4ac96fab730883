/** Checkpoints of the seal log (c2sp.org/tlog-checkpoint): origin, size, root, signed by the notary twice. */
import { IntegrityError } from '@agent-audit/schemas'
import { invalid, LineReader } from '../notes/lines.ts'
import { formatNote, verifyNote } from '../notes/note.ts'
import { keyNameFault, type Verified, type VerifierKey } from '../notes/verifier-key.ts'
import { HASH_BYTES } from './hashes.ts'

export interface Checkpoint {
  /** Name of the log: as a key name. */
  readonly origin: string
  readonly size: number
  readonly root: Buffer
}

const LINES = {
  origin: 'the origin of the log, without spaces and plus signs',
  size: 'the size of the tree',
  root: 'the root, Base64 of 32 bytes',
} as const
/** A text with this head would be what a cosignature signs. */
const COSIGNATURE_HEAD = 'cosignature/v1'

/** @throws IntegrityError with code SEAL_INVALID */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  if (!isOrigin(origin)) throw invalid(`checkpoint: expected ${LINES.origin}`)
  if (!Number.isSafeInteger(size) || size < 0) throw invalid(`checkpoint: expected ${LINES.size}`)
  if (root.length !== HASH_BYTES) throw invalid(`checkpoint: expected ${LINES.root}`)
  return `${origin}\n${size}\n${root.toString('base64')}\n`
}

/** Extension lines, which C2SP allows and advises against, are refused. @throws IntegrityError with code SEAL_INVALID */
export function parseCheckpoint(text: string): Checkpoint {
  const lines = new LineReader('checkpoint', text)
  const origin = lines.line(LINES.origin)
  if (!isOrigin(origin)) lines.fail(LINES.origin)
  const size = lines.integer(lines.line(LINES.size), LINES.size)
  const root = lines.hash(lines.line(LINES.root), LINES.root)
  lines.end()
  return { origin, size, root }
}

/** What a notary's key does; a key in this process has both forms of signature. */
export interface CheckpointSigner {
  signatureLine(text: string): string
  cosignatureLine(text: string, seconds: number): string
}

/** @param seconds - The notary's time, seconds since 1970: signed, unlike times in seals. */
export function signCheckpoint(signer: CheckpointSigner, checkpoint: Checkpoint, seconds: number): string {
  const text = formatCheckpoint(checkpoint)
  return formatNote(text, [signer.signatureLine(text), signer.cosignatureLine(text, seconds)])
}

/** The keys that a reader trusts. */
export interface LogKeys {
  /** Of the log's notaries, as Ed25519 keys: their cosignatures are known with them. */
  readonly log: readonly VerifierKey[]
  /** Cosigners outside. */
  readonly witnesses?: readonly VerifierKey[]
}

export interface VerifiedCheckpoint extends Checkpoint {
  /** The notary's key. */
  readonly key: VerifierKey
  /** The time that the notary signed, seconds since 1970. Undefined: its cosignature is not there. */
  readonly seconds: number | undefined
  /** Cosignatures of known witnesses. */
  readonly witnesses: readonly Verified[]
}

/** @throws IntegrityError with code SEAL_INVALID; SIGNATURE_INVALID, if a known key's signature is wrong or no notary has signed */
export function verifyCheckpoint(note: string, { log, witnesses = [] }: LogKeys): VerifiedCheckpoint {
  const notaries = [...log, ...log.map(({ cosigner }) => cosigner)]
  const { text, verified } = verifyNote(note, [...notaries, ...witnesses])
  const checkpoint = parseCheckpoint(text)
  const byNotary = verified.filter(({ key }) => notaries.includes(key))
  const [first] = byNotary
  if (first === undefined)
    throw new IntegrityError('SIGNATURE_INVALID', 'checkpoint: no notary of the log has signed it')
  const cosigned = byNotary.find(({ key, seconds }) => seconds !== undefined && key.name === first.key.name)
  const others = verified.filter(({ key }) => !notaries.includes(key))
  return { ...checkpoint, key: first.key, seconds: cosigned?.seconds, witnesses: others }
}

function isOrigin(origin: string): boolean {
  return keyNameFault(origin) === undefined && origin !== COSIGNATURE_HEAD
}
