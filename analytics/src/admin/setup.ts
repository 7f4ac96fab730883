/** Besides the tables, an operator sets up the consumer group of each log and checks the rights of the consumer's user. */
import { excessiveGrants, IntegrityError, InvalidInputError, logIdOf, LOGS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'

export interface LogRegistration {
  /** Kafka cluster id, or the embedded log's UUID. */
  readonly sourceId: string
  readonly topic: string
  /** The only group that may write this log's rows. */
  readonly consumerGroup: string
}

/**
 * Notes in audit_logs which consumer group writes a log: leases of one group do not fence another. Idempotent.
 * @returns The log's id, 16 hex digits, and whether this call added it.
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
  // Two setups with different groups may both have found none: the earlier row counts.
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
 * Checks that the consumer's user may only insert and read the consumer's bookkeeping.
 * @param writer - Connected as that user.
 * @throws IntegrityError `GRANTS_TOO_WIDE` naming every grant beyond those.
 */
export async function checkWriterGrants(writer: Analytics): Promise<void> {
  const rows = await writer.rows<Record<string, string>>('SHOW GRANTS')
  const excess = excessiveGrants(rows.flatMap(Object.values), writer.database)
  if (excess.length === 0) return
  throw new IntegrityError('GRANTS_TOO_WIDE', `the writer may do more than insert: revoke ${excess.join('; ')}`)
}
