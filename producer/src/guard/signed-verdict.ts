/**
 * Decisions and overrides that a key has signed: what is signed is what the guard compares with the call, so that no field of a
 * decision counts that its approver has not signed.
 */
import {
  differencesOf,
  formatApproval,
  readApproval,
  type SaidApproval,
  type SignedApproval,
  verifyApproval,
} from '@agent-audit/seals'
import { type Approval, IntegrityError, invalidEvent, type Maybe, TrailError } from '@agent-audit/schemas'
import type { ApprovalDecision, Override } from '../api/approval.ts'
import type { Redactor } from '../redaction/redactor.ts'
import type { Fault } from './approver.ts'
import type { GuardHost } from './recording-session.ts'

type DecisionFields = Omit<ApprovalDecision, 'event_id' | 'reason'>
type OverrideFields = Omit<Override, 'event_id' | 'reason'>

/** @param behalf - on_behalf_of of the call that is to run: it must be what was signed. */
export function saidByDecision(decision: DecisionFields, behalf: Maybe<string>): SaidApproval {
  return {
    ...saidByBoth(decision, behalf),
    id: decision.approval_id,
    askedSha256: decision.modified?.requested_sha256,
    decision: decision.approval_status,
    shownSha256: decision.approval.shown_sha256,
  }
}

/** @param id - Of an override: the id that is signed. @param behalf - As for {@link saidByDecision}. */
export function saidByOverride(override: OverrideFields, id: string, behalf: Maybe<string>): SaidApproval {
  return { ...saidByBoth(override, behalf), id, askedSha256: undefined, decision: 'overridden', shownSha256: undefined }
}

function saidByBoth(
  given: DecisionFields | OverrideFields,
  behalf: Maybe<string>,
): Omit<SaidApproval, 'id' | 'askedSha256' | 'decision' | 'shownSha256'> {
  return {
    sessionId: given.session_id,
    toolName: given.tool_name,
    onBehalfOf: behalf ?? undefined,
    argumentsSha256: given.arguments_sha256,
    approverKind: given.approval.approver_kind,
    approverId: given.approver_id,
    identitySource: given.approval.identity_source ?? '',
    expiresAt: Date.parse(given.expires_at),
  }
}

/** The text that a key signs. @throws InvalidInputError `EVENT_INVALID`, if it cannot be signed. */
export function textToSign(said: SaidApproval, decidedAt: number, eventType: string): string {
  try {
    return formatApproval({ ...said, decidedAt })
  } catch (error) {
    if (!(error instanceof IntegrityError)) throw error
    throw invalidEvent(eventType, [{ path: '', expected: error.message }])
  }
}

/** Signs with the trail's key, if it has one. @param decidedAt - Milliseconds since 1970. */
export function signHere(
  { trail }: GuardHost,
  said: SaidApproval,
  { decidedAt, eventType }: { readonly decidedAt: number; readonly eventType: string },
): string | undefined {
  return trail.options.approvalSigner?.sign(textToSign(said, decidedAt, eventType))
}

/** The id that an override is used up by: the signed one cannot be altered. */
export function idOfOverride({ event_id, approval }: Pick<Override, 'event_id' | 'approval'>): string {
  return idSignedIn(approval.signature) ?? event_id
}

function idSignedIn(signature: string | undefined): string | undefined {
  try {
    return signature === undefined ? undefined : readApproval(signature).approval.id
  } catch {
    return undefined
  }
}

/** Why a signature does not belong to what is said; nothing is verified. */
export function findDifference(signature: string, said: SaidApproval): Fault | undefined {
  try {
    return differenceOf(readApproval(signature).approval, said)
  } catch (error) {
    return unverified(error)
  }
}

/**
 * Why a guard with a trust file does not run a call on a decision or an override; undefined also without a trust file.
 * @throws TrailError when the trust file cannot be used: then the guard cannot tell.
 */
export function findForgery(
  { trail }: GuardHost,
  signature: string | undefined,
  said: SaidApproval,
): Fault | undefined {
  const { approvalTrust } = trail.options
  if (approvalTrust === undefined) return undefined
  if (signature === undefined) {
    const what = said.decision === 'overridden' ? 'override' : 'approval'
    return { code: 'APPROVAL_UNSIGNED', why: `the ${what} is not signed, and the trust file demands it` }
  }
  const trust = approvalTrust.read()
  try {
    return differenceOf(verifyApproval(signature, trust, trail.expiry.now()).approval, said)
  } catch (error) {
    return unverified(error)
  }
}

function unverified(error: unknown): Fault {
  if (!(error instanceof TrailError)) throw error
  return { code: 'APPROVAL_UNVERIFIED', why: `its signature does not count: ${error.message}` }
}

const NAMES: Record<keyof SaidApproval, string> = {
  id: 'approval_id',
  sessionId: 'session_id',
  toolName: 'tool_name',
  onBehalfOf: 'on_behalf_of',
  argumentsSha256: 'arguments_sha256',
  askedSha256: 'modified.requested_sha256',
  decision: 'approval_status',
  approverKind: 'approval.approver_kind',
  approverId: 'approver_id',
  identitySource: 'approval.identity_source',
  shownSha256: 'approval.shown_sha256',
  expiresAt: 'expires_at',
}

function differenceOf(signed: SignedApproval, said: SaidApproval): Fault | undefined {
  const differing = differencesOf(signed, said).map((field) => NAMES[field])
  if (differing.length === 0) return undefined
  return { code: 'APPROVAL_UNVERIFIED', why: `its signature is of another decision: ${differing.join(', ')} differ` }
}

/**
 * An approval as it is recorded. A signature repeats the names that redaction removes, so it is left out where redaction
 * removes one, and where it would change the signature itself.
 */
export function toRecorded(
  redactor: Redactor | undefined,
  approval: Approval,
  names: Readonly<Record<'approver_id' | 'tool_name', string>> & { readonly on_behalf_of: Maybe<string> },
): Approval {
  if (approval.signature === undefined || redactor === undefined) return approval
  const given = Object.entries(names).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  const texts = given.map(([field, text]) => redactor.text(field, text))
  const changed = [...texts, redactor.json('approval', JSON.stringify(approval), JSON.stringify)].some(
    (redacted) => redacted !== undefined && (redacted.hits !== undefined || redacted.text === null),
  )
  return changed ? { ...approval, signature: REDACTED_SIGNATURE } : approval
}

/** In the form of all marks of redaction: the decision was signed, and its record does not show it. */
export const REDACTED_SIGNATURE = '[redacted:signature]'
