/** Checks at the consumer's start that each log is registered, for its group, and still the one that its rows are of. */
import type { Source } from '@agent-audit/kafka'
import { AuditUnavailableError, IntegrityError, logIdOf } from '@agent-audit/schemas'
import type { Logger } from 'pino'
import type { Settings } from '../settings.ts'
import type { ClickHouseSink } from '../store/clickhouse-sink.ts'

interface Parts {
  readonly source: Source
  readonly sink: ClickHouseSink
}

const NO_IDS =
  'the brokers tell no ids of topics (Kafka before 3.1): a topic that is made anew is found by its offsets only'
const NOT_NOTED =
  "registered without its topic's id: run 'agent-audit setup', or a topic made anew while no consumer runs may not be noticed"

/** @returns the check, which logs once what it cannot compare. */
export function createRegistrationCheck(settings: Settings, log: Logger): (parts: Parts) => Promise<void> {
  const said = new Set<string>()
  const warnOnce = (message: string): void => {
    if (said.has(message)) return
    said.add(message)
    log.warn(message)
  }

  async function check({ source, sink }: Parts): Promise<void> {
    const sourceId = await source.sourceId()
    const ids = await source.topicIds?.()
    if (ids?.size === 0) warnOnce(NO_IDS)
    for (const topic of settings.AUDIT_TOPICS) {
      const which = `topic ${topic} of ${sourceId}`
      const registered = await sink.registration(logIdOf(sourceId, topic))
      if (registered === undefined) {
        throw new AuditUnavailableError('STORE_UNAVAILABLE', `${which} is not registered: run 'agent-audit setup'`)
      }
      // Two groups that write one log would not know each other's leases.
      if (registered.consumerGroup !== settings.AUDIT_GROUP_ID) {
        const other = `${which} is written by group ${registered.consumerGroup}; a second one, ${settings.AUDIT_GROUP_ID}, would store events twice`
        throw new IntegrityError('STORE_REFUSED', other)
      }
      const id = ids?.get(topic)
      if (id === undefined || id === registered.topicId) continue
      if (registered.topicId === '') warnOnce(`${which} is ${NOT_NOTED}`)
      else
        throw new IntegrityError(
          'LOG_REPLACED',
          `${which} was made anew: its id is ${id}, and the rows are of ${registered.topicId}`,
        )
    }
  }

  return check
}
