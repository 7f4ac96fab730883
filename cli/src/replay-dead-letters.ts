/** Sends dead letters to their topics again, and reports the outcome of each. */
import { type Analytics, type DeadLetter, type DeadRecord, readDeadLetter } from '@agent-audit/analytics'
import { openReplay, type Replay } from '@agent-audit/producer/replay'
import { AuditUnavailableError, classesOfTopic, isBelowDefaultTopic, TrailError } from '@agent-audit/schemas'
import type { Opened } from './dead-record.ts'

/** The outcome of one: sent and acknowledged by the log; not sent, and why; or a dry run would send it. */
export interface Replayed {
  readonly position: string
  readonly outcome: 'replayed' | 'refused' | 'would replay'
  readonly reason: string | null
  /** Of the new event. */
  readonly run_id: string | null
  readonly event_id: string | null
}

/** Brokers, or the embedded log, as options of the producer. */
export type Destination = Pick<Parameters<typeof openReplay>[0], 'brokers' | 'ssl' | 'sasl' | 'dataDir'>

export interface ReplayOptions {
  readonly open: (record: DeadRecord) => Promise<Opened>
  readonly destination: Destination
  readonly dryRun: boolean
  /** Whether to replay dead letters whose event is stored: each becomes another event. */
  readonly force: boolean
}

/** Longest wait for the log to acknowledge all records of a topic. */
const ACKNOWLEDGE_TIMEOUT_MS = 60_000
/** The producer's largest limit: the record was in this topic before. */
const MAX_RECORD_BYTES = 8 * 2 ** 20

/**
 * Replays in the order of the log, topic by topic. Refuses dead letters that cannot be replayed, and sends the others.
 * @throws AuditUnavailableError `BROKER_UNAVAILABLE` if the log does not acknowledge in time: sent events may still arrive.
 */
export async function replayDeadLetters(
  analytics: Analytics,
  letters: readonly DeadLetter[],
  options: ReplayOptions,
): Promise<Replayed[]> {
  const inOrder = letters.toSorted((a, b) => a.partition - b.partition || a.offset - b.offset)
  const results: Replayed[] = []
  for (const [topic, ofTopic] of Map.groupBy(inOrder, (letter) => letter.topic)) {
    if (topic !== null) results.push(...(await replayTopic(analytics, topic, ofTopic, options)))
    else
      results.push(...ofTopic.map((letter) => refused(letter, 'its log is not registered, so its topic is not known')))
  }
  return results
}

async function replayTopic(
  analytics: Analytics,
  topic: string,
  letters: readonly DeadLetter[],
  options: ReplayOptions,
): Promise<Replayed[]> {
  const results: Replayed[] = []
  let replay: Replay | undefined
  try {
    for (const letter of letters) {
      const opened = await openLetter(analytics, topic, letter, options)
      if ('outcome' in opened) results.push(opened)
      else if (options.dryRun) results.push({ ...refused(letter, null), outcome: 'would replay' })
      else {
        replay ??= openDelivery(topic, options.destination)
        results.push(await send(replay, letter, opened.event))
      }
    }
  } catch (error) {
    await replay?.close({ timeoutMs: ACKNOWLEDGE_TIMEOUT_MS })
    throw error
  }
  const left = await replay?.close({ timeoutMs: ACKNOWLEDGE_TIMEOUT_MS })
  if (left !== undefined && left.pending + left.refused > 0) throw notAcknowledged(topic, left.pending + left.refused)
  return results
}

async function openLetter(
  analytics: Analytics,
  topic: string,
  letter: DeadLetter,
  { open, force }: ReplayOptions,
): Promise<Replayed | Extract<Opened, { whole: true }>> {
  if (letter.replayed_as !== null && !force) {
    const { log_id, partition, offset } = letter.replayed_as
    return refused(
      letter,
      `it was replayed: its event is at ${log_id}/${partition}/${offset} (--force replays it again)`,
    )
  }
  const record = await readDeadLetter(analytics, letter)
  if (record === undefined) return refused(letter, 'it is no longer in the table')
  const opened = await open(record)
  if (!opened.whole) return refused(letter, opened.reason)
  // The event keeps its class, so that it would become a dead letter again.
  if (classesOfTopic(topic).includes(opened.event.retention_class)) return opened
  return refused(letter, `topic ${topic} does not have its retention class`)
}

async function send(replay: Replay, letter: DeadLetter, event: Parameters<Replay['replay']>[0]): Promise<Replayed> {
  try {
    // One that is stored comes here only by force, and becomes another event; all others are the same event each time.
    const { runId, receipt } = await replay.replay(event, letter.position, { again: letter.replayed_as !== null })
    // Closing waits for all receipts.
    receipt.acked.catch(() => undefined)
    const { position } = letter
    return { position, outcome: 'replayed', reason: null, run_id: runId, event_id: receipt.event_id }
  } catch (error) {
    if (!(error instanceof TrailError)) throw error
    return refused(letter, error.message)
  }
}

function openDelivery(topic: string, destination: Destination): Replay {
  // No spool: this command waits for `acked` of each receipt, which every log gives, and reports the events without it.
  const [retentionClass] = classesOfTopic(topic)
  return openReplay({
    ...destination,
    ...(isBelowDefaultTopic(topic) ? { retentionClass } : { topic }),
    agentId: 'agent-audit',
    producerId: 'agent-audit dead-letters replay',
    maxRecordBytes: MAX_RECORD_BYTES,
    onProblem: () => undefined,
  })
}

function refused(letter: DeadLetter, reason: string | null): Replayed {
  return { position: letter.position, outcome: 'refused', reason, run_id: null, event_id: null }
}

function notAcknowledged(topic: string, count: number): AuditUnavailableError {
  const told = `${topic}: ${count} sent events were not acknowledged in time and may still arrive`
  return new AuditUnavailableError('BROKER_UNAVAILABLE', `${told}: replay them once more, which makes no second event`)
}
