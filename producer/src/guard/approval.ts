/** What is asked of a person, and what the person answers; and the check of both when they come from elsewhere. */
import type { Common, Maybe, ToolCall } from '@agent-audit/schemas'
import { z } from 'zod'
import type { SessionRef } from '../api/audit-trail.ts'
import { checkForm } from '../record/check-form.ts'
import type { Redactor } from '../redaction/redactor.ts'
import { refSchema } from '../session/session-ref.ts'

/** A question to a person: exactly these arguments, until then. Plain JSON: carry it by any means. */
export interface ApprovalRequest {
  /** event_id of the approval_request. */
  readonly approval_id: string
  /** The session that asks. */
  readonly session: SessionRef
  /** The tool that is to run. */
  readonly tool_name: string
  /** The call that is to run. */
  readonly tool_call_id: string
  /** The arguments as JSON, before redaction: the person sees what will run. */
  readonly tool_input: unknown
  /** SHA-256 of the canonical arguments (RFC 8785), 64 hex digits. */
  readonly arguments_sha256: string
  /** Why it is asked. */
  readonly reason: string | null
  /** ISO 8601, UTC. */
  readonly expires_at: string
}

/** A person's answer. */
export interface Verdict {
  /** What was decided. */
  approval_status: 'approved' | 'rejected'
  /** Required: "approved" by nobody is worth nothing. */
  approver_id: string
  /** Short, without personal data. */
  reason?: Maybe<string>
}

/** A verdict on record. Plain JSON: carry it to the process that runs the action. */
export interface ApprovalDecision extends Readonly<Verdict> {
  /** That of the request. */
  readonly approval_id: string
  /** What was decided. */
  readonly approval_status: 'approved' | 'rejected'
  /** The approval_decision. */
  readonly event_id: string
  /** The session that asked. */
  readonly session_id: string
  /** The tool that may run. */
  readonly tool_name: string
  /** SHA-256 of the canonical arguments it may run with, 64 hex digits. */
  readonly arguments_sha256: string
  /** Until when it may run: ISO 8601, UTC. */
  readonly expires_at: string
}

export interface ApprovalOptions {
  /** Why it is asked; short, without personal data. */
  reason?: Maybe<string>
  /** How long the approval may be decided and used, milliseconds. @defaultValue 3600000 */
  ttlMs?: number | undefined
}

/** Input of the events that only the approval methods record. */
export interface ApprovalInputs {
  approval_request: ToolCall & { expires_at: string }
  approval_decision: Common & { tool_name: string; tool_call_id: string; arguments_sha256: string }
}

export const name: z.ZodType<string, string> = z.string().min(1)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits')
const verdict = {
  approval_status: z.enum(['approved', 'rejected']),
  approver_id: name,
  reason: z.string().nullish(),
}
/** How long a person's word may be acted upon, milliseconds. */
export const lifetime: z.ZodType<number | undefined, number | undefined> = z
  .int()
  .min(1)
  .max(366 * 24 * 3_600_000)
  .optional()
/** What a person's word is bound to. */
export const bound: {
  readonly tool_name: z.ZodType<string, string>
  readonly arguments_sha256: z.ZodType<string, string>
  readonly expires_at: z.ZodType<string, string>
} = { tool_name: name, arguments_sha256: sha256, expires_at: z.iso.datetime() }

const verdictSchema: z.ZodType<Verdict, Verdict> = z.strictObject(verdict)
const requestSchema: z.ZodType<ApprovalRequest, ApprovalRequest> = z.strictObject({
  ...bound,
  approval_id: z.uuid(),
  session: refSchema,
  tool_call_id: name,
  tool_input: z.unknown(),
  reason: z.string().nullable(),
})
const decisionSchema: z.ZodType<ApprovalDecision, ApprovalDecision> = z.strictObject({
  ...bound,
  approval_id: z.uuid(),
  ...verdict,
  event_id: z.uuid(),
  session_id: name,
})
const optionsSchema: z.ZodType<ApprovalOptions, ApprovalOptions> = z.strictObject({
  reason: z.string().nullish(),
  ttlMs: lifetime,
})

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong field. */
export function checkVerdict(given: Verdict, redactor: Redactor | undefined): Verdict {
  return checkForm(verdictSchema, given, { eventType: 'approval_decision', redactor })
}

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong field. */
export function checkRequest(given: ApprovalRequest, redactor: Redactor | undefined): ApprovalRequest {
  return checkForm(requestSchema, given, { eventType: 'approval_decision', redactor })
}

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong field. */
export function checkDecision(given: ApprovalDecision, redactor: Redactor | undefined): ApprovalDecision {
  return checkForm(decisionSchema, given, { eventType: 'tool_call', redactor })
}

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong option. */
export function checkApprovalOptions(given: ApprovalOptions, redactor: Redactor | undefined): ApprovalOptions {
  return checkForm(optionsSchema, given, { eventType: 'approval_request', redactor })
}
