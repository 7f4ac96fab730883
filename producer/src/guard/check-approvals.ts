/**
 * The check of requests, verdicts, decisions and overrides: they come from another process, or from a person. Every check
 * throws InvalidInputError `EVENT_INVALID` naming every wrong field.
 */
import { z } from 'zod'
import type {
  ApprovalDecision,
  ApprovalOptions,
  ApprovalRequest,
  Override,
  OverrideOptions,
  Verdict,
} from '../api/approval.ts'
import { refSchema } from '../context/session-ref.ts'
import { checkForm } from '../context/check-form.ts'
import type { Redactor } from '../redaction/redactor.ts'

const name = z.string().min(1)
/** Some databases write UUIDs in upper case. */
const uuid = z.uuid().toLowerCase()
/** How long an approval or an override may be used, milliseconds. */
const lifetime = z
  .int()
  .min(1)
  .max(366 * 24 * 3_600_000)
  .optional()
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits')
/** The action that an approval or an override is bound to. */
const bound = {
  tool_name: name,
  arguments_sha256: digest,
  expires_at: z.iso.datetime(),
}
const approval_status = z.enum(['approved', 'rejected'])
/** A text that is not blank. */
const named = (expected: string): z.ZodString => z.string({ error: expected }).regex(/\S/, expected)
const approver_id = named('expected the id of the approver')
const identity_source = named(
  "expected where the approver's identity was authenticated, such as an OIDC issuer or an mTLS subject",
)
const approver_kind = z.enum(['person', 'policy', 'agent'])
/** A signed note; longer than any that counts is refused before it is read. */
const signature = z.string().max(65_535)
/** The record's `approval`, of a decision or an override from another process. */
const approval = z.strictObject({
  approver_kind,
  identity_source,
  shown_sha256: digest.optional(),
  modified: z.array(z.string()).readonly().optional(),
  self_approval: z.boolean().optional(),
  signature: signature.optional(),
})

const verdictSchema: z.ZodType<Verdict, Verdict> = z
  .strictObject({
    approval_status,
    approver_id,
    identity_source,
    approver_kind: approver_kind.optional(),
    reason: z.string().nullish(),
    shown: z.unknown().optional(),
    modified_input: z.unknown().optional(),
    signature: signature.optional(),
  })
  .refine(({ approval_status: status, modified_input: input }) => status === 'approved' || input === undefined, {
    path: ['modified_input'],
    error: 'expected none with a rejection',
  })
const requestSchema: z.ZodType<ApprovalRequest, ApprovalRequest> = z.strictObject({
  ...bound,
  approval_id: uuid,
  session: refSchema,
  tool_call_id: name,
  tool_input: z.unknown(),
  reason: z.string().nullable(),
  on_behalf_of: z.string().nullable(),
})
const decisionSchema: z.ZodType<ApprovalDecision, ApprovalDecision> = z.strictObject({
  ...bound,
  approval_id: uuid,
  approval_status,
  approver_id,
  reason: z.string().nullish(),
  approval,
  modified: z.strictObject({ tool_input: z.unknown(), requested_sha256: digest }).optional(),
  event_id: uuid,
  session_id: name,
})
const approvalOptionsSchema: z.ZodType<ApprovalOptions, ApprovalOptions> = z.strictObject({
  reason: z.string().nullish(),
  ttlMs: lifetime,
})
const overrideOptionsSchema: z.ZodType<OverrideOptions, OverrideOptions> = z.strictObject({
  approver_id,
  identity_source,
  reason: name,
  approval_id: uuid.optional(),
  ttlMs: lifetime,
})
const overrideSchema: z.ZodType<Override, Override> = z.strictObject({
  ...bound,
  event_id: uuid,
  session_id: name,
  approver_id,
  approval,
  reason: name,
})

export function checkVerdict(given: Verdict, redactor: Redactor | undefined): Verdict {
  return checkForm(verdictSchema, given, { eventType: 'approval_decision', redactor })
}

export function checkRequest(given: ApprovalRequest, redactor: Redactor | undefined): ApprovalRequest {
  return checkForm(requestSchema, given, { eventType: 'approval_decision', redactor })
}

export function checkDecision(given: ApprovalDecision, redactor: Redactor | undefined): ApprovalDecision {
  return checkForm(decisionSchema, given, { eventType: 'tool_call', redactor })
}

export function checkApprovalOptions(given: ApprovalOptions, redactor: Redactor | undefined): ApprovalOptions {
  return checkForm(approvalOptionsSchema, given, { eventType: 'approval_request', redactor })
}

export function checkOverrideOptions(given: OverrideOptions, redactor: Redactor | undefined): OverrideOptions {
  return checkForm(overrideOptionsSchema, given, { eventType: 'human_intervention', redactor })
}

export function checkOverride(given: Override, redactor: Redactor | undefined): Override {
  return checkForm(overrideSchema, given, { eventType: 'tool_call', redactor })
}
