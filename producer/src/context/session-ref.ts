/** Reading a session reference that came from another process. */
import { z } from 'zod'
import type { SessionRef } from '../api/session-ref.ts'
import { checkForm } from './check-form.ts'
import type { SessionStamps } from '../record/event-record.ts'
import type { Redactor } from '../redaction/redactor.ts'

/** A reference with these fields and no others. */
export const refSchema: z.ZodType<SessionRef, SessionRef> = z.strictObject({
  session_id: z.string().min(1).max(200),
  run_id: z.string().regex(/^[0-9a-f]{32}$/, 'expected 32 hex digits'),
  last_event_id: z.uuid(),
  step_number: z.int().min(0),
  trace_id: z.string().nullable(),
  stamped: z.record(z.string(), z.string()),
})

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong field. */
export function checkRef(given: SessionRef, redactor: Redactor | undefined): SessionRef {
  return checkForm(refSchema, given, { eventType: 'session_resumed', redactor })
}

/** The stamps that the session began with; the trail's own stamps where the reference has none. */
export function stampsOf({ session_id, stamped }: SessionRef, own: Omit<SessionStamps, 'session_id'>): SessionStamps {
  const digest = stamped['system_prompt_hash']
  return {
    session_id,
    agent_id: stamped['agent_id'] ?? own.agent_id,
    agent_version: stamped['agent_version'] ?? own.agent_version,
    model_id: stamped['model_id'] ?? own.model_id,
    user_id: stamped['user_id'] ?? null,
    system_prompt_hash: digest === undefined ? own.system_prompt_hash : Buffer.from(digest, 'hex'),
  }
}
