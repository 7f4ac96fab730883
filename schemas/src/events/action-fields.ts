/** Fields of version 2 of the record, which several event types have: whose authority, what effect, by which policy and approval. */

/** A value that may be left out. */
export type Maybe<T> = T | null | undefined

/** Values of effect: the action took place; it was sent, and no answer is known; nothing is known. */
export const EFFECTS = ['confirmed', 'dispatched', 'unknown'] as const
/** What is known of an action's effect on the world. */
export type Effect = (typeof EFFECTS)[number]

/** Reasons to group by. The list is open: a caller may use codes of its own, such as `acme.over_limit`. */
export const REASON_CODES = {
  policy_denied: 'a policy forbids the action',
  approval_required: 'the action needs an approval, and there is none for it',
  approval_rejected: 'the approver rejected the action',
  approval_expired: 'the approval, or the request for it, has expired',
  approval_invalid: 'the approval is for another action, or was used before',
  approval_unverified: 'the approval has no signature that the trust file lets count',
  self_approval: 'the approver is the agent that asks, or the user or principal that it acts for',
  sandbox: 'the action leaves the sandbox',
  rate_limited: 'too many actions in a time',
  budget_exceeded: 'a limit of cost, tokens or steps is reached',
  not_recorded: 'the action could not be recorded, so it was not run',
  invalid_input: 'the arguments are wrong',
  not_permitted: 'the other system refuses the principal',
  timeout: 'no answer in time',
  cancelled: 'a person or a program cancelled the action',
  unavailable: 'the other system cannot be reached or does not work',
  tool_error: 'the tool failed in another way',
} as const
/** A code of {@link REASON_CODES}, or one of the caller's own: lower case, at most 64 characters, `[a-z0-9_.]`. */
// The intersection keeps the known codes as suggestions of an editor.
export type ReasonCode = keyof typeof REASON_CODES | (string & {})

/** The policy that judged an action. */
export interface Policy {
  /** Its name. */
  id: string
  /** Its version, as the operator counts them. */
  version?: string | undefined
  /** Digest of its text, so that it can be proved which one it was; such as `sha256:` and 64 hex digits. */
  digest?: string | undefined
}

/** How an approval came about. Beside it the record has approval_id, approval_status and approver_id. */
export interface Approval {
  /** Kind of the approver. */
  approver_kind: 'person' | 'policy' | 'agent'
  /** Where the approver's identity was authenticated: an OIDC issuer, an mTLS subject, a user of the operating system. */
  identity_source?: string | undefined
  /** SHA-256 of what the approver was shown, 64 hex digits. */
  shown_sha256?: string | undefined
  /** Paths of the fields that the approver changed, such as `tool_input.amount`. */
  modified?: readonly string[] | undefined
  /** The approver asked for the action too, which the trail allows. */
  self_approval?: boolean | undefined
  /** The decision, or the override, as the approver's key has signed it: a signed note of docs/integrity.md. */
  signature?: string | undefined
}

/** Fields of events about an action. */
export interface ActionFields {
  /** The principal whose authority the action uses, where that is not user_id: a service, another agent. */
  on_behalf_of?: Maybe<string>
  /** Key of the action, the same at each attempt: by it a retry is known as one. */
  idempotency_key?: Maybe<string>
  /** What is known of the action's effect. */
  effect?: Maybe<Effect>
  /** The policy that judged the action. */
  policy?: Maybe<Policy>
  /** How the approval of the action came about. */
  approval?: Maybe<Approval>
}
