/** What else an operator sets up once: which consumer group writes a log, and that the writer can do no harm. */
import { excessiveGrants, IntegrityError, InvalidInputError, logIdOf, LOGS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'

export interface LogRegistration {
  /** Kafka cluster id, or the embedded log's UUID. */
  readonly sourceId: string
  readonly topic: string
  /** The one group that may write this log's rows. */
  readonly consumerGroup: string
}

/**
 * Notes in audit_logs which consumer group writes a log: a second group would be fenced by nothing. Idempotent.
 * @returns The log's id, 16 hex digits, and whether it was added by this call.
 * @throws InvalidInputError `OPTIONS_INVALID` if another group holds the log.
 */
export async function registerLog(
  admin: Analytics,
  { sourceId, topic, consumerGroup }: LogRegistration,
): Promise<{ logId: string; added: boolean }> {
  const logId = logIdOf(sourceId, topic).toString('hex')
  const before = await groupOf(admin, logId)
  if (before === undefined) {
    await admin.command(
      `INSERT INTO {database:Identifier}.${LOGS_TABLE} (log_id, source_id, topic, consumer_group)
       SELECT unhex({logId:String}), {sourceId:String}, {topic:String}, {consumerGroup:String}`,
      { logId, sourceId, topic, consumerGroup },
    )
  }
  // Two setups with different groups may both have found none: the earlier row is the one that holds.
  const holder = before ?? (await groupOf(admin, logId))
  if (holder === consumerGroup) return { logId, added: before === undefined }
  const message = `topic "${topic}" of ${sourceId} is written by consumer group "${holder}", not "${consumerGroup}": only one group may write a log`
  throw new InvalidInputError('OPTIONS_INVALID', message)
}

async function groupOf(admin: Analytics, logId: string): Promise<string | undefined> {
  const rows = await admin.rows<{ consumer_group: string }>(
    `SELECT consumer_group FROM {database:Identifier}.${LOGS_TABLE}
     WHERE log_id = unhex({logId:String}) ORDER BY registered_at, consumer_group LIMIT 1`,
    { logId },
  )
  return rows[0]?.consumer_group
}

/**
 * Makes sure that the consumer's user can insert and read its bookkeeping, and nothing more.
 * @param writer - Connected as that user.
 * @throws IntegrityError `GRANTS_TOO_WIDE` naming every grant that is too much.
 */
export async function checkWriterGrants(writer: Analytics): Promise<void> {
  const rows = await writer.rows<Record<string, string>>('SHOW GRANTS')
  const excess = excessiveGrants(rows.flatMap(Object.values), writer.database)
  if (excess.length === 0) return
  throw new IntegrityError('GRANTS_TOO_WIDE', `the writer may do more than insert: revoke ${excess.join('; ')}`)
}
