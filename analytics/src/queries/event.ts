/** One event by its id. */
import { EVENTS_TABLE, InvalidInputError } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { EVENT_COLUMNS, toEvent, type TrailEvent } from './session-trail.ts'

const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i
/**
 * The id names its time, by which the index by_event_time finds the granules of that millisecond, whatever the event's
 * timestamp is. An id that is no UUIDv7 has the time 0 on both sides: then the index by_event finds it.
 */
const QUERY = `
  SELECT ${EVENT_COLUMNS} FROM {database:Identifier}.${EVENTS_TABLE} AS e
  WHERE e.event_id = {eventId:UUID} AND UUIDv7ToDateTime(e.event_id) = UUIDv7ToDateTime({eventId:UUID})`
/** Sorting reads the granule twice: the columns of the order, then the others. */
const ANY_TWO = `${QUERY} LIMIT 2`
const FIRST = `${QUERY} ORDER BY e.log_id, e.log_partition, e.log_offset LIMIT 1`

/**
 * Finds an event by its id. Of several events with this id, which only another producer writes, the first of the log.
 * @param eventId - A UUID in its usual form of 36 characters.
 * @returns undefined if no such event is stored.
 * @throws InvalidInputError `OPTIONS_INVALID` if it is no UUID; TrailError as {@link Analytics.rows}.
 */
export async function eventById(connection: Analytics, eventId: string): Promise<TrailEvent | undefined> {
  if (!UUID.test(eventId)) {
    const message = `an event id is a UUID such as 019b7720-6c45-7641-8eba-d3f3000014ac, not ${JSON.stringify(eventId)}`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  // Nearly always no row is quarantined and one event has the id: then one round trip is enough.
  const [quarantine, found] = await Promise.all([
    withoutQuarantined(connection),
    connection.rows<Record<string, unknown>>(ANY_TWO, { eventId }),
  ])
  const certain = quarantine.rows === 0 && found.length < 2
  const [row] = certain ? found : await quarantine.analytics.rows<Record<string, unknown>>(FIRST, { eventId })
  return row === undefined ? undefined : toEvent(row, connection.fields)
}
