/** Besides the tables, an operator sets up the consumer group of each log and checks the rights of the consumer's user. */
import {
  excessiveGrants,
  IntegrityError,
  InvalidInputError,
  lackingInserts,
  logIdOf,
  LOGS_TABLE,
  type Role,
} from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'

export interface LogRegistration {
  /** Kafka cluster id, or the embedded log's UUID. */
  readonly sourceId: string
  readonly topic: string
  /** The only group that may write this log's rows. */
  readonly consumerGroup: string
  /** Kafka's id of the topic. @defaultValue not known */
  readonly topicId?: string | undefined
  /** Called before a new log is added: what its first consumer finds. No consumer starts on a log that is not registered. */
  readonly prepare?: (() => Promise<void>) | undefined
}

/**
 * Notes in audit_logs which consumer group writes a log, since leases of one group do not fence another, and which topic it is.
 * Idempotent, also after a crash at any moment: a log that is noted has been prepared. A log that was noted without the id of its
 * topic gets it now.
 * @returns The log's id, 16 hex digits, and whether this call added it.
 * @throws InvalidInputError `OPTIONS_INVALID` if another group holds the log; IntegrityError `LOG_REPLACED` if its topic was made
 * anew.
 */
export async function registerLog(
  admin: Analytics,
  { sourceId, topic, consumerGroup, topicId = '', prepare }: LogRegistration,
): Promise<{ logId: string; added: boolean }> {
  const logId = logIdOf(sourceId, topic).toString('hex')
  const before = await registrationOf(admin, logId)
  if (before.group === undefined) await prepare?.()
  if (
    before.group === undefined ||
    (before.group === consumerGroup && before.topicId === undefined && topicId !== '')
  ) {
    await admin.command(
      `INSERT INTO {database:Identifier}.${LOGS_TABLE} (log_id, source_id, topic, topic_id, consumer_group)
       SELECT unhex({logId:String}), {sourceId:String}, {topic:String}, {topicId:String}, {consumerGroup:String}`,
      { logId, sourceId, topic, topicId, consumerGroup },
    )
  }
  // Two setups with different groups may both have found none: the earlier row counts.
  const now = await registrationOf(admin, logId)
  if (now.group !== consumerGroup) {
    const message = `topic "${topic}" of ${sourceId} is written by consumer group "${now.group}", not "${consumerGroup}": only one group may write a log`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  if (topicId !== '' && now.topicId !== topicId) {
    const message = `topic "${topic}" of ${sourceId} was made anew: its id is ${topicId}, and the rows are of ${now.topicId}. Use another name`
    throw new IntegrityError('LOG_REPLACED', message)
  }
  return { logId, added: before.group === undefined }
}

/** The earliest group, and the earliest id. */
async function registrationOf(
  admin: Analytics,
  logId: string,
): Promise<{ group: string | undefined; topicId: string | undefined }> {
  const rows = await admin.rows<{ consumer_group: string; topic_id: string }>(
    `SELECT consumer_group, topic_id FROM {database:Identifier}.${LOGS_TABLE}
     WHERE log_id = unhex({logId:String}) ORDER BY registered_at, consumer_group`,
    { logId },
  )
  return { group: rows[0]?.consumer_group, topicId: rows.find((row) => row.topic_id !== '')?.topic_id }
}

const WORK: Readonly<Record<Role, string>> = {
  writer: 'the writer, which inserts and reads its bookkeeping',
  detector: 'a detector, which reads the trail and inserts findings',
  notary: 'a notary, which keeps seals and checkpoints',
}

/**
 * Checks that a user has the grants of its role to insert, and none beyond those of the role.
 * @param user - Connected as that user.
 * @throws IntegrityError `GRANTS_TOO_WIDE` naming every grant beyond those; `ACCESS_DENIED` naming every insert that it may not make.
 */
export async function checkGrants(user: Analytics, role: Role): Promise<void> {
  const rows = await user.rows<Record<string, string>>('SHOW GRANTS')
  const shown = rows.flatMap(Object.values)
  const [excess, lacking] = [excessiveGrants(shown, user.database, role), lackingInserts(shown, user.database, role)]
  if (excess.length === 0 && lacking.length === 0) return
  const [row] = await user.rows<{ name: string }>('SELECT currentUser() AS name')
  const name = `the user ${row?.name ?? ''}`
  if (excess.length > 0) {
    throw new IntegrityError('GRANTS_TOO_WIDE', `${name} may do more than ${WORK[role]}: revoke ${excess.join('; ')}`)
  }
  throw new IntegrityError('ACCESS_DENIED', `${name} may do less than ${WORK[role]}: grant ${lacking.join('; ')}`)
}
