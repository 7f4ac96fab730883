/** A person's word against a refusal, and the check of it when it comes from elsewhere. */
import { z } from 'zod'
import { bound, lifetime, name } from './approval.ts'
import { checkForm } from '../record/check-form.ts'
import type { Redactor } from '../redaction/redactor.ts'

/** A person takes it upon them that a call runs which a guard refuses. */
export interface OverrideOptions {
  /** Who. */
  approver_id: string
  /** Why. */
  reason: string
  /** The approval that was rejected, expired or used, if there is one: a UUID. */
  approval_id?: string | undefined
  /** How long the call may be run on it, milliseconds. @defaultValue 3600000 */
  ttlMs?: number | undefined
}

/** An override on record: this tool, exactly these arguments, until then, once. Plain JSON: carry it to the guard. */
export interface Override {
  /** The human_intervention. */
  readonly event_id: string
  /** The session it is for. */
  readonly session_id: string
  /** The tool that may run. */
  readonly tool_name: string
  /** SHA-256 of the canonical arguments it may run with, 64 hex digits. */
  readonly arguments_sha256: string
  /** Who takes it upon them. */
  readonly approver_id: string
  /** Why. */
  readonly reason: string
  /** Until when it may run: ISO 8601, UTC. */
  readonly expires_at: string
}

const optionsSchema: z.ZodType<OverrideOptions, OverrideOptions> = z.strictObject({
  approver_id: name,
  reason: name,
  approval_id: z.uuid().optional(),
  ttlMs: lifetime,
})
const overrideSchema: z.ZodType<Override, Override> = z.strictObject({
  ...bound,
  event_id: z.uuid(),
  session_id: name,
  approver_id: name,
  reason: name,
})

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong option. */
export function checkOverrideOptions(given: OverrideOptions, redactor: Redactor | undefined): OverrideOptions {
  return checkForm(optionsSchema, given, { eventType: 'human_intervention', redactor })
}

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong field. */
export function checkOverride(given: Override, redactor: Redactor | undefined): Override {
  return checkForm(overrideSchema, given, { eventType: 'tool_call', redactor })
}
