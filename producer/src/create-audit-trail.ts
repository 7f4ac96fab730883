/** The entry to the producer. Its declared type names the public contract alone, so that no internal type is published. */
import type { AuditTrail } from './api/audit-trail.ts'
import type { AuditTrailOptions } from './api/trail-options.ts'
import { openTrail } from './session/open-trail.ts'

/**
 * Opens the spool, returns at once, and dials the broker in the background.
 * @throws InvalidInputError `OPTIONS_INVALID` naming every wrong option.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the spool's directory cannot be written.
 */
export const createAuditTrail: (options: AuditTrailOptions) => AuditTrail = openTrail
