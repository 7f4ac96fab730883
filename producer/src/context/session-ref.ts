/** Reading a session reference that came from another process. */
import { z } from 'zod'
import type { SessionRef } from '../api/session-ref.ts'
import { checkForm } from './check-form.ts'
import type { SessionStamps } from '../record/event-record.ts'
import type { Redactor } from '../redaction/redactor.ts'

/** Far from the largest integer: every step after it is one too. */
const MAX_STEP = 2 ** 48
/** Longer than any name that a session stamps. */
const MAX_TEXT = 10_000
const text = z.string().max(MAX_TEXT)
const stampedSchema: z.ZodType<Readonly<Record<string, string>>, Readonly<Record<string, string>>> = z.strictObject({
  agent_id: text.min(1).optional(),
  agent_version: text.optional(),
  model_id: text.optional(),
  user_id: text.optional(),
  system_prompt_hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, 'expected 64 hex digits')
    .optional(),
}) as never

/** A reference with these fields and no others. UUIDs become lower case: some databases write them in upper case. */
export const refSchema: z.ZodType<SessionRef, SessionRef> = z.strictObject({
  session_id: z.string().min(1).max(200),
  run_id: z
    .string()
    .regex(/^[0-9a-f]{32}$/i, 'expected 32 hex digits')
    .toLowerCase(),
  last_event_id: z.uuid().toLowerCase(),
  step_number: z.int().min(0).max(MAX_STEP),
  trace_id: text.nullable(),
  stamped: stampedSchema,
})

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong field. */
export function checkRef(given: SessionRef, redactor: Redactor | undefined): SessionRef {
  return checkForm(refSchema, given, { eventType: 'session_resumed', redactor })
}

/** The stamps that the session began with; the trail's own stamps where the reference has none. */
export function stampsOf({ session_id, stamped }: SessionRef, own: Omit<SessionStamps, 'session_id'>): SessionStamps {
  const digest = stamped['system_prompt_hash']
  const wellFormed = (field: string): string | undefined => stamped[field]?.toWellFormed()
  return {
    session_id: session_id.toWellFormed(),
    agent_id: wellFormed('agent_id') ?? own.agent_id,
    agent_version: wellFormed('agent_version') ?? own.agent_version,
    model_id: wellFormed('model_id') ?? own.model_id,
    user_id: wellFormed('user_id') ?? null,
    system_prompt_hash: digest === undefined ? own.system_prompt_hash : Buffer.from(digest, 'hex'),
  }
}
