/** The file of an evidence bundle: a head of fixed lines, then the parts back to back. docs/integrity.md has it byte by byte. */
import { createHash } from 'node:crypto'
import { invalid, LineReader } from '../notes/lines.ts'
import { readNote } from '../notes/note.ts'
import { idOfKeyName, keyNameOf } from '../notes/verifier-key.ts'
import { HASH_BYTES } from '../tree/hashes.ts'

/** A producer's seal over one or more of the records. */
export interface SealEvidence {
  readonly note: string
  /** 32 bytes for each sealed record that is not in the bundle, in the order of run_seq. */
  readonly leaves: Buffer
  /** To the first checkpoint that holds the seal. Undefined: no checkpoint does. */
  readonly proof: { readonly index: number; readonly hashes: readonly Buffer[] } | undefined
}

export interface CheckpointEvidence {
  readonly note: string
  /** From the checkpoint before it; empty for the first. */
  readonly consistency: readonly Buffer[]
}

/** What a bundle holds. */
export interface Bundle {
  readonly sessionId: string
  /** The trust file as the exporter had it: a text, or a note of the root key. */
  readonly trust: string
  /** Schemas of the writers, in ascending order of their fingerprints. */
  readonly schemas: readonly string[]
  /** In single-object encoding, in ascending order of run_id and run_seq. */
  readonly records: readonly Buffer[]
  /** In ascending order of run_id and range. */
  readonly seals: readonly SealEvidence[]
  /** In ascending order of size. */
  readonly log: readonly CheckpointEvidence[]
  /** HTML, as `renderReport` makes it of the records. */
  readonly report: string
}

const HEAD = 'audit-evidence/v1'
const PARTS = ['trust', 'schemas', 'records', 'seals', 'log', 'report.html'] as const
const LENGTH_BYTES = 4
const LINES = {
  session: '"session <percent-encoded session_id>"',
  part: (name: string) => `"part ${name} <bytes> <Base64 of 32 bytes>"`,
  index: '"index <n>"',
  hash: 'Base64 of 32 bytes',
} as const

/** @throws IntegrityError with code SEAL_INVALID, if the session has no id */
export function formatBundle(bundle: Bundle): Buffer {
  if (bundle.sessionId === '') throw invalid('bundle: expected a session_id that is not empty')
  const parts: readonly Buffer[] = [
    Buffer.from(bundle.trust),
    formatList(bundle.schemas.map((text) => Buffer.from(text))),
    formatList(bundle.records),
    formatList(bundle.seals.flatMap(sealItems)),
    formatList(bundle.log.flatMap(({ note, consistency }) => [Buffer.concat(consistency), Buffer.from(note)])),
    Buffer.from(bundle.report),
  ]
  const lines = parts.map((bytes, index) => `part ${PARTS[index]} ${bytes.length} ${sha256(bytes)}`)
  const head = [HEAD, `session ${keyNameOf(bundle.sessionId)}`, ...lines, '', '']
  return Buffer.concat([Buffer.from(head.join('\n')), ...parts])
}

/** Whether a file says that it is a bundle of this version. */
export function isBundle(bytes: Buffer): boolean {
  return bytes.subarray(0, HEAD.length + 1).equals(Buffer.from(`${HEAD}\n`))
}

/** @throws IntegrityError with code SEAL_INVALID for every file that `formatBundle` cannot have written */
export function parseBundle(bytes: Buffer): Bundle {
  const end = bytes.indexOf('\n\n')
  if (end === -1) throw invalid('bundle: expected an empty line behind its head')
  const lines = new LineReader('bundle', readNote(bytes.subarray(0, end + 1)))
  if (lines.line(`"${HEAD}"`) !== HEAD) lines.fail(`"${HEAD}"`)
  const sessionId = idOfKeyName(lines.fields('session', 1, LINES.session)[0]) ?? lines.fail(LINES.session)
  let at = end + 2
  const parts = PARTS.map((name) => {
    const [given, length, digest] = lines.fields('part', 3, LINES.part(name))
    if (given !== name) lines.fail(LINES.part(name))
    const size = lines.integer(length, LINES.part(name))
    const part = bytes.subarray(at, at + size)
    at += size
    if (at > bytes.length) throw invalid(`bundle: it ends within its part ${name}`)
    if (sha256(part) !== digest) throw invalid(`bundle: its part ${name} has another SHA-256 than its head says`)
    return part
  })
  lines.end()
  if (at !== bytes.length) throw invalid(`bundle: expected its end at byte ${at}, found ${bytes.length} bytes`)
  const [trust, schemas, records, seals, log, report] = parts as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer]
  return {
    sessionId,
    trust: readNote(trust),
    schemas: parseList('schemas', schemas).map(readNote),
    records: parseList('records', records),
    seals: groups('seals', parseList('seals', seals), 3).map(readSeal),
    log: groups('log', parseList('log', log), 2).map(readCheckpoint),
    report: readNote(report),
  }
}

function sealItems({ note, leaves, proof }: SealEvidence): Buffer[] {
  const lines =
    proof === undefined ? [] : [`index ${proof.index}`, ...proof.hashes.map((hash) => hash.toString('base64'))]
  return [Buffer.from(note), leaves, Buffer.from(lines.map((line) => `${line}\n`).join(''))]
}

function readSeal([note, leaves, proof]: readonly Buffer[]): SealEvidence {
  if (note === undefined || leaves === undefined || proof === undefined) throw invalid('bundle: expected a seal')
  if (leaves.length % HASH_BYTES !== 0) throw invalid(`bundle: expected leaves of ${HASH_BYTES} bytes each`)
  return { note: readNote(note), leaves, proof: proof.length === 0 ? undefined : readProof(readNote(proof)) }
}

function readProof(text: string): { index: number; hashes: Buffer[] } {
  const lines = new LineReader('inclusion proof', text)
  const index = lines.integer(lines.fields('index', 1, LINES.index)[0], LINES.index)
  const hashes: Buffer[] = []
  while (!lines.atEnd) hashes.push(lines.hash(lines.line(LINES.hash), LINES.hash))
  return { index, hashes }
}

function readCheckpoint([hashes, note]: readonly Buffer[]): CheckpointEvidence {
  if (hashes === undefined || note === undefined) throw invalid('bundle: expected a checkpoint')
  if (hashes.length % HASH_BYTES !== 0) throw invalid(`bundle: expected hashes of ${HASH_BYTES} bytes each`)
  const consistency = Array.from({ length: hashes.length / HASH_BYTES }, (_, index) =>
    hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES),
  )
  return { note: readNote(note), consistency }
}

/** Each item behind its length. */
function formatList(items: readonly Buffer[]): Buffer {
  return Buffer.concat(
    items.flatMap((item) => {
      const length = Buffer.alloc(LENGTH_BYTES)
      length.writeUInt32BE(item.length)
      return [length, item]
    }),
  )
}

function parseList(name: string, bytes: Buffer): Buffer[] {
  const items: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const start = at + LENGTH_BYTES
    const end = start > bytes.length ? Infinity : start + bytes.readUInt32BE(at)
    if (end > bytes.length) throw invalid(`bundle: its part ${name} ends within item ${items.length}`)
    items.push(bytes.subarray(start, end))
    at = end
  }
  return items
}

function groups(name: string, items: readonly Buffer[], size: number): Buffer[][] {
  if (items.length % size !== 0) throw invalid(`bundle: expected ${size} items for each entry of its part ${name}`)
  return Array.from({ length: items.length / size }, (_, index) => items.slice(index * size, (index + 1) * size))
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('base64')
}
