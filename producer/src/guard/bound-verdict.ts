/** An approver's answer, bound to the arguments that were asked for, shown and approved; and its signature where the approver decides. */
import type { NoteSigner, SaidApproval } from '@agent-audit/seals'
import { invalidEvent } from '@agent-audit/schemas'
import type { ApprovalRequest, Verdict } from '../api/approval.ts'
import { bindInput } from './bound-input.ts'
import type { BoundInput } from './bound-input.ts'
import { checkRequest, checkVerdict } from './check-approvals.ts'
import { textToSign } from './signed-verdict.ts'

export interface BoundVerdict {
  /** The arguments asked for, as the request holds them now. */
  readonly asked: BoundInput
  /** What the approver was shown. */
  readonly shown: BoundInput
  /** The arguments to run with instead, if they differ. */
  readonly changed: BoundInput | undefined
}

export function bindVerdict({ tool_input }: ApprovalRequest, verdict: Verdict): BoundVerdict {
  const { modified_input } = verdict
  const asked = bindInput(tool_input, 'approval_decision')
  const shown = verdict.shown === undefined ? asked : bindInput(verdict.shown, 'approval_decision', 'shown')
  const changed =
    modified_input === undefined ? undefined : bindInput(modified_input, 'approval_decision', 'modified_input')
  return { asked, shown, changed: changed?.sha256 === asked.sha256 ? undefined : changed }
}

export function saidByVerdict(
  request: ApprovalRequest,
  { approval_status, approver_id, approver_kind = 'person', identity_source }: Verdict,
  { asked, shown, changed }: BoundVerdict,
): SaidApproval {
  return {
    id: request.approval_id,
    sessionId: request.session.session_id,
    toolName: request.tool_name,
    onBehalfOf: request.on_behalf_of ?? undefined,
    argumentsSha256: (changed ?? asked).sha256,
    askedSha256: changed === undefined ? undefined : asked.sha256,
    decision: approval_status,
    approverKind: approver_kind,
    approverId: approver_id,
    identitySource: identity_source,
    shownSha256: shown.sha256,
    expiresAt: Date.parse(request.expires_at),
  }
}

/**
 * Signs an answer where the approver decides: in a service that has no trail, with a key that the agent's processes do not have.
 * The signed answer goes to `decideApproval`, or back from the guard's function `approval`.
 * @param signer - An approver's key: `openKeyFile` of `@agent-audit/seals`, or any signer of notes.
 * @throws InvalidInputError `EVENT_INVALID`, also where the request's arguments are not those of its digest.
 */
export async function signVerdict(request: ApprovalRequest, verdict: Verdict, signer: NoteSigner): Promise<Verdict> {
  const asked = checkRequest(request, undefined)
  const answer = checkVerdict(verdict, undefined)
  const bound = bindVerdict(asked, answer)
  if (bound.asked.sha256 !== asked.arguments_sha256) {
    const expected = "expected the digest of the request's tool_input"
    throw invalidEvent('approval_decision', [{ path: 'arguments_sha256', expected }])
  }
  const text = textToSign(saidByVerdict(asked, answer, bound), Date.now(), 'approval_decision')
  return { ...answer, signature: await signer.sign(text) }
}
