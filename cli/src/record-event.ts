/** Records what an operator does by a command as events of the trail. */
import type { AuditTrailOptions, CustomEvent } from '@agent-audit/producer'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { kafkaOf } from './kafka-connection.ts'
import type { Terminal } from './terminal.ts'

const ACKNOWLEDGE_TIMEOUT_MS = 30_000

export type RecordEvent = (event: CustomEvent & { event_type: `${string}.${string}` }) => Promise<string>

/** `work` gets a function that records one event, and resolves to its event_id once the log has it; and the run that records. */
export async function withRecorder<Result>(
  options: AuditTrailOptions,
  work: (record: RecordEvent, runId: string) => Promise<Result>,
): Promise<Result> {
  // Loaded only here: the other commands start faster without the producer.
  const { createAuditTrail } = await import('@agent-audit/producer')
  await using trail = createAuditTrail({
    ...options,
    // No spool: this command waits until the log has the event.
    durability: options.brokers === undefined ? 'memory' : 'broker',
    handleExit: false,
  })
  const session = trail.startSession()
  const result = await work(async (event) => {
    const receipt = session.record(event)
    const { pending } = await trail.flush({ timeoutMs: ACKNOWLEDGE_TIMEOUT_MS })
    if (pending > 0) {
      const message = `the log has not acknowledged the event ${event.event_type} in time: it may still arrive`
      throw new AuditUnavailableError('BROKER_UNAVAILABLE', message)
    }
    await receipt.acked
    return receipt.event_id
  }, trail.runId)
  session.end()
  return result
}

interface Destination {
  /** The embedded log beside a trail that the command has opened. */
  readonly logDir?: string | undefined
  /** For messages. */
  readonly command: string
}

/** Where the events go. @throws InvalidInputError `OPTIONS_INVALID` if no log is named. */
export function destinationOf(
  options: { readonly brokers?: string | undefined; readonly topic?: string | undefined },
  { env }: Terminal,
  { logDir, command }: Destination,
): Partial<AuditTrailOptions> {
  const topic = options.topic === undefined ? {} : { topic: options.topic }
  const dataDir = logDir ?? env['AUDIT_DATA_DIR']
  const kafka = kafkaOf(options.brokers, env)
  if (kafka !== undefined && (options.brokers !== undefined || logDir === undefined)) {
    return { ...topic, brokers: kafka.brokers, ssl: kafka.ssl, sasl: kafka.sasl }
  }
  if (dataDir !== undefined) return { ...topic, dataDir }
  const where = `${command}: where is the log? Set KAFKA_BROKERS, or AUDIT_DATA_DIR for an embedded log`
  throw new InvalidInputError('OPTIONS_INVALID', where)
}
