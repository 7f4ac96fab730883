/** The check of input that is no event: requests, decisions and references from another process, and options of a call. */
import { describeIssues, invalidEvent } from '@agent-audit/schemas'
import type { z } from 'zod'
import { redactErrors } from '../redaction/redactor.ts'
import type { Redactor } from '../redaction/redactor.ts'

export interface FormCheck {
  /** The event that is not recorded when the form is wrong. */
  readonly eventType: string
  /** Redacts the error, which names keys of the input. */
  readonly redactor: Redactor | undefined
}

/** @throws InvalidInputError `EVENT_INVALID` naming every wrong field. */
export function checkForm<T>(schema: z.ZodType<T, T>, given: T, { eventType, redactor }: FormCheck): T {
  const result = schema.safeParse(given)
  if (result.success) return result.data
  return redactErrors(redactor, () => {
    throw invalidEvent(eventType, describeIssues(result.error.issues, schema))
  })
}
