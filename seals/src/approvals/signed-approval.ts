/** The text that an approver's key signs: one decision, or one override, about one call. */
import { LineReader, formatTime, isTime } from '../notes/lines.ts'
import { idOfKeyName, keyNameOf } from '../notes/verifier-key.ts'
import { refuse } from '../seals/fields.ts'

export interface SignedApproval {
  /** approval_id of the request; of an override a UUID of its own. Lower case. It is used once. */
  readonly id: string
  readonly sessionId: string
  readonly toolName: string
  /** The principal whose authority the call uses, where that is not the session's user. */
  readonly onBehalfOf: string | undefined
  /** SHA-256 of the canonical arguments that may run, 64 hex digits. */
  readonly argumentsSha256: string
  /** The same of the arguments that were asked for, where the approver changed them. */
  readonly askedSha256: string | undefined
  readonly decision: 'approved' | 'rejected' | 'overridden'
  readonly approverKind: 'person' | 'policy' | 'agent'
  readonly approverId: string
  /** Where the approver's identity was authenticated. */
  readonly identitySource: string
  /** SHA-256 of what the approver was shown, 64 hex digits. */
  readonly shownSha256: string | undefined
  /** Milliseconds since 1970, by the clock of the deciding process. */
  readonly decidedAt: number
  readonly expiresAt: number
}

/** What a decision says, and a signature of it must say. */
export type SaidApproval = Omit<SignedApproval, 'decidedAt'>

const HEAD = 'audit-approval/v1'
const DECISIONS = ['approved', 'rejected', 'overridden'] as const
const KINDS = ['person', 'policy', 'agent'] as const
const DIGEST_DIGITS = 64
/** A note has at most 65,535 bytes, and a record holds this one beside all else. */
const MAX_BYTES = 16_384
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const LINES = {
  head: `"${HEAD}"`,
  id: '"id <UUID, lower case>"',
  session: '"session <percent-encoded session_id>"',
  tool: '"tool <percent-encoded tool_name>"',
  behalf: '"behalf of <percent-encoded on_behalf_of>" or "behalf none"',
  arguments: '"arguments sha256 <64 hex digits>"',
  asked: '"asked sha256 <64 hex digits>" or "asked none"',
  decision: `"decision <${DECISIONS.join('|')}>"`,
  approver: `"approver <${KINDS.join('|')}> <percent-encoded approver_id>"`,
  identity: '"identity <percent-encoded identity_source>"',
  shown: '"shown sha256 <64 hex digits>" or "shown none"',
  decided: '"decided <YYYY-MM-DDThh:mm:ss.sssZ>"',
  expires: '"expires <YYYY-MM-DDThh:mm:ss.sssZ>"',
} as const

/** @throws IntegrityError with code SEAL_INVALID, if the approval contradicts itself */
export function formatApproval(approval: SignedApproval): string {
  refuse('approval', faultOf(approval))
  const lines = [
    HEAD,
    `id ${approval.id}`,
    `session ${keyNameOf(approval.sessionId)}`,
    `tool ${keyNameOf(approval.toolName)}`,
    approval.onBehalfOf === undefined ? 'behalf none' : `behalf of ${keyNameOf(approval.onBehalfOf)}`,
    digestLine('arguments', approval.argumentsSha256),
    digestLine('asked', approval.askedSha256),
    `decision ${approval.decision}`,
    `approver ${approval.approverKind} ${keyNameOf(approval.approverId)}`,
    `identity ${keyNameOf(approval.identitySource)}`,
    digestLine('shown', approval.shownSha256),
    `decided ${formatTime(approval.decidedAt)}`,
    `expires ${formatTime(approval.expiresAt)}`,
  ]
  const text = `${lines.join('\n')}\n`
  refuse('approval', sizeFault(text))
  return text
}

/** @throws IntegrityError with code SEAL_INVALID, that names the line and what is expected there */
export function parseApproval(text: string): SignedApproval {
  refuse('approval', sizeFault(text))
  const lines = new LineReader('approval', text)
  if (lines.line(LINES.head) !== HEAD) lines.fail(LINES.head)
  const [id] = lines.fields('id', 1, LINES.id)
  if (!UUID.test(id)) lines.fail(LINES.id)
  const sessionId = readId(lines, 'session')
  const toolName = readId(lines, 'tool')
  const onBehalfOf = readBehalf(lines)
  const argumentsSha256 = readDigest(lines, 'arguments') ?? lines.fail(LINES.arguments)
  const askedSha256 = readDigest(lines, 'asked')
  const decision = oneOf(lines, DECISIONS, [lines.fields('decision', 1, LINES.decision)[0], LINES.decision])
  const [kind, approver] = lines.fields('approver', 2, LINES.approver)
  const approverKind = oneOf(lines, KINDS, [kind, LINES.approver])
  const approverId = idOfKeyName(approver) ?? lines.fail(LINES.approver)
  const identitySource = readId(lines, 'identity')
  const shownSha256 = readDigest(lines, 'shown')
  const decidedAt = lines.time(lines.fields('decided', 1, LINES.decided)[0], LINES.decided)
  const expiresAt = lines.time(lines.fields('expires', 1, LINES.expires)[0], LINES.expires)
  lines.end()
  const who = { approverKind, approverId, identitySource }
  const what = { id, sessionId, toolName, onBehalfOf, argumentsSha256, askedSha256, decision, shownSha256 }
  const approval = { ...what, ...who, decidedAt, expiresAt }
  refuse('approval', faultOf(approval))
  return approval
}

/** The fields of `said` that are not as they are signed. A lone surrogate is signed as U+FFFD, as it is recorded. */
export function differencesOf(signed: SignedApproval, said: Partial<SaidApproval>): (keyof SaidApproval)[] {
  return (Object.keys(said) as (keyof SaidApproval)[]).filter((field) => !isSame(signed[field], said[field]))
}

function isSame(signed: string | number | undefined, said: string | number | undefined): boolean {
  if (typeof signed !== 'string' || typeof said !== 'string') return signed === said
  return signed.toWellFormed() === said.toWellFormed()
}

function digestLine(tag: string, digest: string | undefined): string {
  return digest === undefined ? `${tag} none` : `${tag} sha256 ${digest}`
}

function readDigest(lines: LineReader, tag: 'arguments' | 'asked' | 'shown'): string | undefined {
  const line = lines.line(LINES[tag])
  if (line === `${tag} none`) return undefined
  const head = `${tag} sha256 `
  return line.startsWith(head) ? lines.hex(line.slice(head.length), DIGEST_DIGITS, LINES[tag]) : lines.fail(LINES[tag])
}

function readBehalf(lines: LineReader): string | undefined {
  const line = lines.line(LINES.behalf)
  if (line === 'behalf none') return undefined
  const [, name] = /^behalf of (\S+)$/.exec(line) ?? lines.fail(LINES.behalf)
  return idOfKeyName(name ?? '') ?? lines.fail(LINES.behalf)
}

function readId(lines: LineReader, tag: 'session' | 'tool' | 'identity'): string {
  return idOfKeyName(lines.fields(tag, 1, LINES[tag])[0]) ?? lines.fail(LINES[tag])
}

function oneOf<T extends string>(lines: LineReader, known: readonly T[], [text, expected]: [string, string]): T {
  return known.find((each) => each === text) ?? lines.fail(expected)
}

function sizeFault(text: string): string | undefined {
  const bytes = Buffer.byteLength(text)
  return bytes > MAX_BYTES ? `expected at most ${MAX_BYTES} bytes, found ${bytes}` : undefined
}

function faultOf(approval: SignedApproval): string | undefined {
  const { id, decision, argumentsSha256, askedSha256, shownSha256, approverKind, decidedAt, expiresAt } = approval
  if (!UUID.test(id)) return 'expected a UUID in lower case as its id'
  const digests = [argumentsSha256, askedSha256 ?? argumentsSha256, shownSha256 ?? argumentsSha256]
  if (!digests.every((digest) => /^[0-9a-f]{64}$/.test(digest))) return 'expected digests of 64 hex digits'
  const ids = { session_id: approval.sessionId, tool_name: approval.toolName, approver_id: approval.approverId }
  const more = { identity_source: approval.identitySource, on_behalf_of: approval.onBehalfOf }
  const empty = Object.entries({ ...ids, ...more }).find(([, text]) => text === '')
  if (empty !== undefined) return `expected a ${empty[0]} that is not empty`
  if (askedSha256 !== undefined && decision !== 'approved') return 'expected modified arguments with an approval alone'
  if (askedSha256 === argumentsSha256) return 'expected modified arguments to differ from those asked for'
  if (decision === 'overridden' && (approverKind !== 'person' || shownSha256 !== undefined))
    return 'expected a person who overrides, and nothing shown'
  if (!isTime(decidedAt) || !isTime(expiresAt)) return 'expected times in the years 0 to 9999'
  return decidedAt < expiresAt ? undefined : 'expected a decision before it expires'
}
