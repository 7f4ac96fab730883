/** The change from a key to its successor, as a note that the old key signs. */
import { IntegrityError } from '@agent-audit/schemas'
import { formatTime, invalid, LineReader, quoted, TIME_FORM } from '../notes/lines.ts'
import { parseNote, verifyNote } from '../notes/note.ts'
import { ED25519, VerifierKey } from '../notes/verifier-key.ts'
import type { NoteSigner } from './key-file.ts'
import { keyFaultAt, type Trust } from './trust.ts'

export interface Rotation {
  readonly key: VerifierKey
  readonly next: VerifierKey
  /** Milliseconds since 1970: from then on the new key signs. */
  readonly time: number
}

const HEAD = 'audit-rotation/v1'
const LINES = {
  head: `"${HEAD}"`,
  key: '"key <vkey>"',
  next: '"next <vkey>"',
  time: `"time ${TIME_FORM}"`,
} as const

/** @throws IntegrityError with code SEAL_INVALID */
export function formatRotation(rotation: Rotation): string {
  check(rotation)
  const { key, next, time } = rotation
  return `${HEAD}\nkey ${key.vkey}\nnext ${next.vkey}\ntime ${formatTime(time)}\n`
}

/** @throws IntegrityError with code SEAL_INVALID */
export function parseRotation(text: string): Rotation {
  const lines = new LineReader('rotation', text)
  if (lines.line(LINES.head) !== HEAD) lines.fail(LINES.head)
  const key = VerifierKey.parse(lines.fields('key', 1, LINES.key)[0])
  const next = VerifierKey.parse(lines.fields('next', 1, LINES.next)[0])
  const time = lines.time(lines.fields('time', 1, LINES.time)[0], LINES.time)
  lines.end()
  const rotation = { key, next, time }
  check(rotation)
  return rotation
}

/** The note by which the old key names its successor. */
export function signRotation(signer: NoteSigner, next: VerifierKey, time: number): string | Promise<string> {
  return signer.sign(formatRotation({ key: VerifierKey.parse(signer.vkey), next, time }))
}

/**
 * The trust after a rotation: the new key counts from its time on, in the role of the old one.
 * @param overlapMs - The old key counts for so long after it: what it signed before reaches a checkpoint later.
 * @throws IntegrityError with code SEAL_INVALID; SIGNATURE_INVALID, if no trusted key has signed it that counts at its time
 */
export function applyRotation(trust: Trust, note: string, overlapMs: number): Trust {
  const { key: named, next, time } = parseRotation(parseNote(note).text)
  const old = trust.keys.find(({ key }) => key.vkey === named.vkey)
  const name = quoted(named.name)
  if (old === undefined) throw wrong(`the trust file has no key ${quoted(named.vkey)}`)
  verifyNote(note, [old.key])
  const fault = keyFaultAt(old, time)
  // A revoked key names no successor at any time: its holder chooses the time.
  if (old.revoked !== undefined || fault !== undefined) throw wrong(`the key of ${name} is ${fault ?? 'revoked'}`)
  const end = Math.min(time + overlapMs, old.notAfter ?? Number.POSITIVE_INFINITY)
  const { role } = old
  const keys = trust.keys.map((each) => (each === old ? { ...old, notAfter: end } : each))
  return { ...trust, keys: [...keys, { key: next, role, notBefore: time, notAfter: undefined, revoked: undefined }] }
}

function wrong(message: string): IntegrityError {
  return new IntegrityError('SIGNATURE_INVALID', `rotation: ${message}`)
}

function check({ key, next }: Rotation): void {
  if (key.name !== next.name) {
    throw invalid(`rotation: expected a successor named ${quoted(key.name)}, found ${quoted(next.name)}`)
  }
  if (key.type !== ED25519 || next.type !== ED25519) throw invalid('rotation: expected keys of type 1')
  if (key.vkey === next.vkey) throw invalid('rotation: expected another key as the successor')
}
