/** Warns at the consumer's start of brokers that promise less than docs/exactly-once.md assumes. */
import { findWeakDurability } from '@agent-audit/kafka/topics'
import { TrailError } from '@agent-audit/schemas'
import type { Logger } from 'pino'
import type { Settings } from '../settings.ts'

/**
 * @returns a check that logs each weak setting once, and looks at the brokers no more once they have answered. It never
 * throws: what the consumer stores is right with weak settings too, and a broker that is away is met elsewhere.
 */
export function createDurabilityCheck({ kafka, AUDIT_TOPICS }: Settings, log: Logger): () => Promise<void> {
  let answered = false
  return async () => {
    if (kafka === undefined || answered) return
    try {
      const found = await findWeakDurability(kafka, AUDIT_TOPICS)
      answered = true
      for (const { message, ...fields } of found) log.warn(fields, message)
    } catch (error) {
      answered = !(error instanceof TrailError && error.retryable)
      const why = error instanceof Error ? error.message : String(error)
      log.warn(`the durability of the topics could not be checked: ${why}`)
    }
  }
}
