/** What the signature of a recorded decision shows. */
import { keyIdOf } from '@agent-audit/erasure'
import { TrailError } from '@agent-audit/schemas'
import {
  differencesOf,
  idOfKeyName,
  readApproval,
  type SaidApproval,
  type Trust,
  verifyApproval,
} from '@agent-audit/seals'
import type { Decision } from '../../why/answer.ts'

/** A decision, an override, or the call that ran on one. */
export type SignedRecord = Pick<
  Decision,
  | 'event_type'
  | 'signature'
  | 'tool_name'
  | 'arguments_sha256'
  | 'status'
  | 'approver_kind'
  | 'approver_id'
  | 'identity_source'
  | 'shown_sha256'
  | 'approval_id'
  | 'keyed_digests'
  | 'log_time'
> & {
  readonly session_id: string
  /** Of a call: in whose name it ran. */
  readonly on_behalf_of?: string | null
}

export type SignatureFound =
  /** `hidden`: it is encrypted, and the reader has no data key, or the key was destroyed. */
  | { readonly kind: 'none' | 'redacted' | 'hidden' }
  /** `unverified`: there is no trust file. */
  | { readonly kind: 'verified' | 'unverified'; readonly signer: string }
  | { readonly kind: 'other decision'; readonly differing: readonly string[] }
  | { readonly kind: 'wrong'; readonly message: string }

const NAMES: Record<keyof SaidApproval, string> = {
  id: 'approval_id',
  sessionId: 'session_id',
  toolName: 'tool_name',
  onBehalfOf: 'on_behalf_of',
  argumentsSha256: 'arguments_sha256',
  askedSha256: 'arguments asked for',
  decision: 'decision',
  approverKind: 'approver_kind',
  approverId: 'approver_id',
  identitySource: 'identity_source',
  shownSha256: 'shown_sha256',
  expiresAt: 'expires_at',
}

/** @param trust - Undefined: signatures are named, and not verified. */
export function judgeSignature(record: SignedRecord, trust: Trust | undefined): SignatureFound {
  const { signature } = record
  if (signature === null) return { kind: 'none' }
  if (signature.startsWith('[redacted:')) return { kind: 'redacted' }
  if (/^\[(encrypted|erased)/.test(signature) || keyIdOf(signature) !== undefined) return { kind: 'hidden' }
  try {
    const { approval, keyName } = readApproval(signature)
    if (trust === undefined) return { kind: 'unverified', signer: idOfKeyName(keyName) ?? keyName }
    const { key } = verifyApproval(signature, trust, Date.parse(record.log_time))
    const differing = differencesOf(approval, saidBy(record))
    if (differing.length > 0) return { kind: 'other decision', differing: differing.map((field) => NAMES[field]) }
    return { kind: 'verified', signer: idOfKeyName(key.key.name) ?? key.key.name }
  } catch (error) {
    if (!(error instanceof TrailError)) throw error
    return { kind: 'wrong', message: error.message }
  }
}

/** Why a signature does not count; undefined: it counts, or nothing tells. */
export function faultOfSignature(found: SignatureFound): string | undefined {
  if (found.kind === 'wrong') return found.message
  if (found.kind !== 'other decision') return undefined
  return `its signature is of another decision: ${found.differing.join(', ')} differ`
}

/** What its record says. The expiry is that of the request. */
function saidBy(record: SignedRecord): Partial<SaidApproval> {
  const { event_type: type, status } = record
  const isCall = type === 'tool_call'
  const said = {
    sessionId: record.session_id,
    toolName: record.tool_name ?? '',
    approverKind: (record.approver_kind ?? '') as SaidApproval['approverKind'],
    approverId: record.approver_id ?? '',
    identitySource: record.identity_source ?? '',
    ...(isCall ? { onBehalfOf: record.on_behalf_of ?? undefined } : {}),
    ...digestsOf(record),
  }
  // The id of an override is its own. A call that ran on one has no status, and runs on no other decision than an approval.
  if (type === 'human_intervention' || (isCall && status === null)) return { ...said, decision: 'overridden' }
  const decision = isCall ? 'approved' : ((status ?? '') as SaidApproval['decision'])
  return { ...said, id: record.approval_id ?? '', decision }
}

/** Digests of encrypted texts are keyed, those of the signature are not: the guard alone has compared them. */
function digestsOf(record: SignedRecord): Partial<SaidApproval> {
  if (record.keyed_digests) return {}
  return { argumentsSha256: record.arguments_sha256 ?? '', shownSha256: record.shown_sha256 ?? undefined }
}
