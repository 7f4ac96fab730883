/** The branch of `agent-audit why` about approvals. */
import type { ApprovalFacts, Decision } from '@agent-audit/analytics'
import type { SignatureText } from './signature.ts'
import { dayAndTime } from './text.ts'
import { type Branch, jsonOf } from './tree.ts'

const STATES = {
  approved: 'approved',
  rejected: 'rejected',
  pending: 'asked for, and not decided',
  overridden: 'a person overrode a refusal',
  none: 'none is recorded',
}

export function approvalBranch(
  { required, state, request, decisions, digests, warnings }: ApprovalFacts,
  signatureText: SignatureText,
): Branch {
  const none = state === 'none' && !required && decisions.length === 0
  if (none) return { text: 'Approval', below: [{ text: 'none was required, and none is recorded' }] }
  const below: Branch[] = [
    ...warnings.map(({ text }) => ({ text: `! ${text}` })),
    request === null ? { text: 'no request is recorded' } : requestBranch(request),
    ...decisions.map((decision) => decisionBranch(decision, { asked: digests.asked, signatureText })),
    ...(decisions.length === 0 ? [{ text: 'no decision is recorded' }] : []),
    { text: digestText(digests) },
  ]
  return { text: `Approval: ${STATES[state]}${required ? '' : ' (not required)'}`, below }
}

function requestBranch({
  timestamp,
  tool_input,
  reason,
  expires_at,
  event_id,
}: NonNullable<ApprovalFacts['request']>): Branch {
  const below = [
    { text: `asked for ${jsonOf(tool_input)}` },
    {
      text: `reason: ${reason ?? 'none recorded'}; ${expires_at === null ? 'no expiry recorded' : `expires ${dayAndTime(expires_at)} UTC`}`,
    },
  ]
  return { text: `${dayAndTime(timestamp)} UTC: requested (${event_id})`, below }
}

function decisionBranch(
  decision: Decision,
  { asked, signatureText }: { readonly asked: string | null; readonly signatureText: SignatureText },
): Branch {
  const { approver_id, approver_kind, identity_source, modified, tool_input, reason } = decision
  const what =
    decision.event_type === 'human_intervention' ? 'intervention' : (decision.status ?? 'decided, no status recorded')
  const below: Branch[] = [
    {
      text: `identity from ${identity_source ?? 'a source that is not recorded'}${decision.self_approval ? '; the approver asked for it too' : ''}`,
    },
    { text: signatureText(decision) },
    { text: shownText(decision, asked) },
    {
      text:
        modified.length === 0 ? 'it changed no argument' : `it changed ${modified.join(', ')}: ${jsonOf(tool_input)}`,
    },
    ...(reason === null ? [] : [{ text: `reason: ${reason}` }]),
  ]
  const who = `${approver_kind ?? 'approver'} ${approver_id ?? 'not recorded'}`
  const counts = decision.counts ? '' : ', and does not count'
  return { text: `${dayAndTime(decision.timestamp)} UTC: ${what} by ${who}${counts} (${decision.event_id})`, below }
}

/** @param asked - Digest of the arguments asked for. */
function shownText({ shown, shown_sha256: digest }: Decision, asked: string | null): string {
  if (shown !== null) return `shown: ${jsonOf(shown)}`
  if (digest === null) return 'what the approver was shown is not recorded'
  return digest === asked
    ? 'shown: exactly the arguments asked for'
    : `shown: not recorded, only its sha256 ${short(digest)}`
}

function digestText({ approved, executed, equal }: ApprovalFacts['digests']): string {
  if (executed === null) return 'no call with its arguments is recorded: nothing to compare with the approval'
  if (approved === null) return 'no approved arguments to compare with the call'
  if (equal === true) return `approved and recorded arguments are equal (sha256 ${short(executed)})`
  return `approved and recorded arguments DIFFER: sha256 ${short(approved)} and ${short(executed)}`
}

function short(digest: string): string {
  return `${digest.slice(0, 16)}…`
}
