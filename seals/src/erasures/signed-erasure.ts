/** The text that an eraser's key signs about one act on the data key of a subject, and whether an event of the trail has it. */
import { createHash } from 'node:crypto'
import { IntegrityError, TrailError } from '@agent-audit/schemas'
import { keyFaultAt, type Trust, type TrustedKey } from '../keys/trust.ts'
import { formatTime, isTime, LineReader, quoted } from '../notes/lines.ts'
import { parseNote, verifyNote } from '../notes/note.ts'
import { idOfKeyName, idText, keyNameOf } from '../notes/verifier-key.ts'
import { refuse } from '../seals/fields.ts'

export interface SignedErasure {
  /** `erasing`: begun; `erased`: the key is destroyed; `admitted`: the subject may have a new key. */
  readonly act: 'erasing' | 'erased' | 'admitted'
  /** Of the data key: 32 hex digits. */
  readonly keyId: string
  readonly subjectKind: 'user' | 'session'
  /** The person who erases. */
  readonly by: string
  /** Where the person's identity was authenticated. */
  readonly identitySource: string
  /** SHA-256 of the reason, 64 hex digits. */
  readonly reasonSha256: string
  /** Run that records it, 32 hex digits: in another one the note counts for nothing. */
  readonly runId: string
  /** Milliseconds since 1970, by the eraser's clock. */
  readonly time: number
}

const HEAD = 'audit-erasure/v1'
const ACTS = ['erasing', 'erased', 'admitted'] as const
const KINDS = ['user', 'session'] as const
const LINES = {
  head: `"${HEAD}"`,
  act: `"act <${ACTS.join('|')}>"`,
  key: '"key <32 hex digits>"',
  subject: `"subject <${KINDS.join('|')}>"`,
  by: '"by <percent-encoded person>"',
  identity: '"identity <percent-encoded identity_source>"',
  reason: '"reason sha256 <64 hex digits>"',
  run: '"run <32 hex digits>"',
  time: '"time <YYYY-MM-DDThh:mm:ss.sssZ>"',
} as const

/** @throws IntegrityError with code SEAL_INVALID, if a field has not its form */
export function formatErasure(erasure: SignedErasure): string {
  refuse('erasure', faultOf(erasure))
  const lines = [
    HEAD,
    `act ${erasure.act}`,
    `key ${erasure.keyId}`,
    `subject ${erasure.subjectKind}`,
    `by ${keyNameOf(erasure.by)}`,
    `identity ${keyNameOf(erasure.identitySource)}`,
    `reason sha256 ${erasure.reasonSha256}`,
    `run ${erasure.runId}`,
    `time ${formatTime(erasure.time)}`,
  ]
  return `${lines.join('\n')}\n`
}

/** @throws IntegrityError with code SEAL_INVALID, that names the line and what is expected there */
export function parseErasure(text: string): SignedErasure {
  const lines = new LineReader('erasure', text)
  if (lines.line(LINES.head) !== HEAD) lines.fail(LINES.head)
  const one = (tag: keyof typeof LINES): string => lines.fields(tag, 1, LINES[tag])[0]
  const oneOf = <T extends string>(tag: keyof typeof LINES, known: readonly T[]): T => {
    const given = one(tag)
    return known.find((each) => each === given) ?? lines.fail(LINES[tag])
  }
  const act = oneOf('act', ACTS)
  const keyId = lines.hex(one('key'), 32, LINES.key)
  const subjectKind = oneOf('subject', KINDS)
  const by = idOfKeyName(one('by')) ?? lines.fail(LINES.by)
  const identitySource = idOfKeyName(one('identity')) ?? lines.fail(LINES.identity)
  const [algorithm, digest] = lines.fields('reason', 2, LINES.reason)
  if (algorithm !== 'sha256') lines.fail(LINES.reason)
  const reasonSha256 = lines.hex(digest, 64, LINES.reason)
  const runId = lines.hex(one('run'), 32, LINES.run)
  const time = lines.time(one('time'), LINES.time)
  lines.end()
  return { act, keyId, subjectKind, by, identitySource, reasonSha256, runId, time }
}

export function reasonDigest(reason: string): string {
  return createHash('sha256').update(reason.toWellFormed()).digest('hex')
}

export interface VerifiedErasure {
  readonly erasure: SignedErasure
  readonly key: TrustedKey
}

/**
 * @param time - When it is judged, milliseconds since 1970, by a clock that is not the eraser's.
 * @throws IntegrityError with code SEAL_INVALID, if it is no such note; SIGNATURE_INVALID, if it does not count
 */
export function verifyErasure(note: string, trust: Trust, time: number): VerifiedErasure {
  const { text, signatures } = parseNote(note)
  const [signature] = signatures
  if (signature === undefined || signatures.length > 1) refuse('erasure', 'expected one signature')
  const { keyName = '', keyId = 0 } = signature ?? {}
  const erasure = parseErasure(text)
  const name = quoted(keyName)
  const found = trust.keys.find(({ key }) => key.name === keyName && key.id === keyId)
  if (found === undefined) throw wrong(`the trust file has no key ${name} with the key id ${idText(keyId)}`)
  if (found.role !== 'eraser') throw wrong(`the key ${name} has the role ${found.role}, expected eraser`)
  verifyNote(note, [found.key])
  const fault = keyFaultAt(found, time)
  if (fault !== undefined) throw wrong(`the key ${name} is ${fault} at ${formatTime(time)}`)
  return { erasure, key: found }
}

/** What an event of an erasure says, as it is stored. */
export interface ErasureEvent {
  /** `subject.erasing`, `subject.erased`, `subject.admitted`. */
  readonly event_type: string
  /** 32 hex digits. */
  readonly run_id: string
  readonly approver_id: string | null
  readonly reason: string | null
  /** JSON; its member `signature` is the note. */
  readonly content: string | null
}

export const ERASURE_EVENTS: readonly string[] = ACTS.map((act) => `subject.${act}`)

/** Why an event of an erasure does not count; `unsigned`: nobody has signed it. Undefined: an eraser's key has signed what it says. */
export function erasureFault(
  event: ErasureEvent,
  trust: Trust,
  time: number,
): { readonly kind: 'unsigned' | 'forged'; readonly why: string } | undefined {
  const content = membersOf(event.content)
  const { signature } = content
  if (typeof signature !== 'string') return { kind: 'unsigned', why: 'no eraser has signed it' }
  try {
    const { act, keyId, subjectKind, by, identitySource, reasonSha256, runId } = verifyErasure(
      signature,
      trust,
      time,
    ).erasure
    const said: readonly (readonly [string, unknown, unknown])[] = [
      ['event_type', event.event_type, `subject.${act}`],
      ['key_id', content['key_id'], keyId],
      ['subject_kind', content['subject_kind'], subjectKind],
      ['approver_id', event.approver_id, by],
      ['identity_source', content['identity_source'], identitySource],
      ['reason', event.reason === null ? null : reasonDigest(event.reason), reasonSha256],
      ['run_id', event.run_id, runId],
    ]
    const differing = said.filter(([, one, other]) => one !== other).map(([field]) => field)
    if (differing.length === 0) return undefined
    return { kind: 'forged', why: `its signature is of another erasure: ${differing.join(', ')} differ` }
  } catch (error) {
    if (!(error instanceof TrailError)) throw error
    return { kind: 'forged', why: `its signature does not count: ${error.message}` }
  }
}

function membersOf(json: string | null): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(json ?? '')
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

function faultOf({ keyId, reasonSha256, runId, by, identitySource, time }: SignedErasure): string | undefined {
  if (![keyId, runId].every((id) => /^[0-9a-f]{32}$/.test(id))) return 'expected ids of 32 hex digits'
  if (!/^[0-9a-f]{64}$/.test(reasonSha256)) return 'expected a digest of 64 hex digits'
  if (by === '' || identitySource === '') return 'expected a person and a source of the identity'
  return isTime(time) ? undefined : 'expected a time in the years 0 to 9999'
}

function wrong(message: string): IntegrityError {
  return new IntegrityError('SIGNATURE_INVALID', `erasure: ${message}`)
}
