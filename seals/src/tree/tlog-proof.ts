/** A proof that needs no server (c2sp.org/tlog-proof): index, inclusion proof, and the checkpoint with its signatures. */
import { fromBase64, invalid, LineReader } from '../notes/lines.ts'
import { parseNote } from '../notes/note.ts'
import { type LogKeys, type VerifiedCheckpoint, verifyCheckpoint } from './checkpoint.ts'
import { verifyInclusion } from './verify-proof.ts'

export interface TlogProof {
  readonly index: number
  /** From the sibling of the leaf up to the child of the root. */
  readonly proof: readonly Buffer[]
  /** The signed note of a checkpoint. */
  readonly checkpoint: string
  /** Not signed: counts for nothing. Undefined: no line `extra`. */
  readonly extra?: Buffer | undefined
}

const HEAD = 'c2sp.org/tlog-proof@v1'
const LINES = {
  head: `"${HEAD}"`,
  extra: '"extra <Base64>"',
  index: '"index <n>"',
  hash: 'Base64 of 32 bytes, or the empty line before the checkpoint',
} as const
const MAX_HASHES = 63

export function formatTlogProof({ index, proof, checkpoint, extra }: TlogProof): string {
  const lines = [
    HEAD,
    ...(extra === undefined ? [] : [`extra ${extra.toString('base64')}`]),
    `index ${index}`,
    ...proof.map((hash) => hash.toString('base64')),
  ]
  return `${lines.join('\n')}\n\n${checkpoint}`
}

/** @throws IntegrityError with code SEAL_INVALID */
export function parseTlogProof(text: string): TlogProof {
  const end = text.indexOf('\n\n')
  const lines = new LineReader('tlog proof', end === -1 ? text : text.slice(0, end + 1))
  if (lines.line(LINES.head) !== HEAD) lines.fail(LINES.head)
  const extra = lines.has('extra') ? readExtra(lines) : undefined
  const index = lines.integer(lines.fields('index', 1, LINES.index)[0], LINES.index)
  const proof: Buffer[] = []
  while (!lines.atEnd && proof.length < MAX_HASHES) proof.push(lines.hash(lines.line(LINES.hash), LINES.hash))
  lines.end()
  if (end === -1) lines.line(LINES.hash)
  const checkpoint = text.slice(end + 2)
  parseNote(checkpoint)
  return { index, proof, checkpoint, ...(extra === undefined ? {} : { extra }) }
}

function readExtra(lines: LineReader): Buffer {
  return fromBase64(lines.fields('extra', 1, LINES.extra)[0]) ?? lines.fail(LINES.extra)
}

/**
 * Whether the log has the leaf, as the checkpoint in the proof says.
 * @throws IntegrityError with code SEAL_INVALID or SIGNATURE_INVALID; SEAL_INVALID also, if the leaf is not in the tree
 */
export function verifyTlogProof(text: string, leafHash: Uint8Array, keys: LogKeys): VerifiedCheckpoint {
  const { index, proof, checkpoint } = parseTlogProof(text)
  const verified = verifyCheckpoint(checkpoint, keys)
  const { size, root } = verified
  if (verifyInclusion({ leafHash, index, size, root, proof })) return verified
  throw invalid(`tlog proof: it does not show the leaf at index ${index} of ${size} leaves`)
}
