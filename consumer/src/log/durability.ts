/** Looks at the consumer's start for topics that promise less than docs/exactly-once.md assumes. */
import { findWeakDurability, TIMESTAMP_TYPE } from '@agent-audit/kafka/topics'
import { IntegrityError, TrailError } from '@agent-audit/schemas'
import type { Logger } from 'pino'
import type { Settings } from '../settings.ts'

/**
 * @returns a check that logs each weak setting once, and looks at the brokers no more once they have answered. What the consumer
 * stores is right with weak settings too, and a broker that is away is met elsewhere. But it throws IntegrityError `LOG_UNFIT`
 * for a topic that takes the time of its producers.
 */
export function createDurabilityCheck({ kafka, AUDIT_TOPICS }: Settings, log: Logger): () => Promise<void> {
  let answered = false
  return async () => {
    if (kafka === undefined || answered) return
    const found = await findWeakDurability(kafka, AUDIT_TOPICS).catch((error: unknown) => {
      answered = !(error instanceof TrailError && error.retryable)
      const why = error instanceof Error ? error.message : String(error)
      log.warn(`the settings of the topics could not be checked: ${why}`)
    })
    if (found === undefined) return
    answered = true
    for (const { message, ...fields } of found) log.warn(fields, message)
    const times = found.filter(({ setting }) => setting === TIMESTAMP_TYPE).map(({ message }) => message)
    if (times.length > 0) throw new IntegrityError('LOG_UNFIT', `${times.join('; ')}. Run 'agent-audit setup'`)
  }
}
