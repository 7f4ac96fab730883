/** What the signature of a recorded decision shows. */
import type { Decision } from '@agent-audit/analytics'
import { TrailError } from '@agent-audit/schemas'
import type { SaidApproval, Trust } from '@agent-audit/seals'

/** One line about the signature of a decision. */
export type SignatureText = (decision: Decision) => string

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
export async function signatureTexts(sessionId: string, trust: Trust | undefined): Promise<SignatureText> {
  const { differencesOf, idOfKeyName, readApproval, verifyApproval } = await import('@agent-audit/seals')
  const nameOf = (keyName: string): string => idOfKeyName(keyName) ?? keyName
  return (decision) => {
    const { signature } = decision
    if (signature === null) return 'not signed'
    if (signature.startsWith('[redacted:')) return 'signed; redaction has removed the signature from the record'
    try {
      const { approval, keyName } = readApproval(signature)
      if (trust === undefined) return `signature by ${nameOf(keyName)}, not verified: give --trust FILE`
      const { key } = verifyApproval(signature, trust, Date.parse(decision.log_time))
      const differing = differencesOf(approval, saidBy(decision, sessionId)).map((field) => NAMES[field])
      if (differing.length > 0) return `! signature of another decision: ${differing.join(', ')} differ`
      return `signed by ${nameOf(key.key.name)}`
    } catch (error) {
      if (!(error instanceof TrailError)) throw error
      return `! signature WRONG: ${error.message}`
    }
  }
}

/** What its record says. The expiry is that of the request; the id of an override is its own. */
function saidBy(decision: Decision, sessionId: string): Partial<SaidApproval> {
  const isOverride = decision.event_type === 'human_intervention'
  const said = {
    sessionId,
    toolName: decision.tool_name ?? '',
    argumentsSha256: decision.arguments_sha256 ?? '',
    decision: (isOverride ? 'overridden' : (decision.status ?? '')) as SaidApproval['decision'],
    approverKind: (decision.approver_kind ?? '') as SaidApproval['approverKind'],
    approverId: decision.approver_id ?? '',
    identitySource: decision.identity_source ?? '',
    shownSha256: decision.shown_sha256 ?? undefined,
  }
  return isOverride ? said : { ...said, id: decision.approval_id ?? '' }
}
