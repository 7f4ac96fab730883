/**
 * The composition root of the consumer, which connects the stages:
 *
 *   source → check → batch (into a block) → duplicates → fence → shared inserts → sink → seals
 */
import type { Assignment, Source } from '@agent-audit/kafka'
import { createKafkaSender } from '@agent-audit/kafka/sender'
import { createKafkaSource } from '@agent-audit/kafka/source'
import { createSchemaRegistry, TrailError } from '@agent-audit/schemas'
import { openKeyFile, SocketSigner } from '@agent-audit/seals'
import type { Logger } from 'pino'
import { BufferMemory } from './pipeline/buffer-memory.ts'
import { checkClasses, createRecordCheck, type RecordCheck } from './pipeline/check.ts'
import { type ClickHouseSink, createClickHouseSink } from './store/clickhouse-sink.ts'
import { type Clock, systemClock } from './pipeline/clock.ts'
import { createDurabilityCheck } from './log/durability.ts'
import { createEmbeddedSealSender } from './log/embedded-seals.ts'
import { createEmbeddedSource } from './log/embedded-source.ts'
import { createRegistrationCheck } from './log/registration.ts'
import { BATCH_DECODERS } from './log/batch-decoders.ts'
import { followLog } from './lag.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { writePartition, type WriterOptions, type WriterParts } from './pipeline/partition-writer.ts'
import { Pace } from './pipeline/pace.ts'
import { SharedInserts } from './pipeline/shared-inserts.ts'
import { type SealSigner, SealTopics, type SealTopicsParts } from './pipeline/sealing/seal-topics.ts'
import type { Settings } from './settings.ts'

export interface Consumer {
  /** Whether the consumer has joined its group, reached Kafka and ClickHouse at its last try, and has no stopped partition. */
  readonly status: { readonly ready: boolean; readonly reason: string }
  readonly metrics: Metrics
  /**
   * Consumes until `drain` is aborted. Retries errors that may pass for ever, with back-off.
   * @throws IntegrityError when a retry would hide damage, or would be refused for ever.
   */
  run(drain: AbortSignal): Promise<void>
}

/** A lease is renewed, and the committed offset moved, at least this often, milliseconds. */
const MAX_RENEW_MS = 10_000
/** How often the server's part counts are polled, milliseconds. */
const PARTS_POLL_MS = 10_000
/** Pauses after a failure, milliseconds. Each is twice as long as the one before, until the work has lasted for the longest. */
const BACK_OFF_MS = { first: 250, longest: 10_000 }

/**
 * @param compose - Makes the parts of a run; simulations and fault tests pass their own.
 * @defaultValue the real parts, as the settings say
 */
export function createConsumer(
  settings: Settings,
  log: Logger,
  compose: (settings: Settings) => ConsumerParts = composeParts,
): Consumer {
  const metrics = createMetrics()
  let status = { ready: false, reason: 'starting' }
  let foreign: readonly string[] = []
  metrics.watchReady(() => currentStatus().ready)

  async function run(drain: AbortSignal): Promise<void> {
    const parts = compose(settings)
    metrics.watchMemory(parts.memory)
    const pace = new Pace(settings.BATCH_MAX_AGE_MS)
    const options = writerOptions(settings)
    const seals = parts.seals && new SealTopics({ ...parts, ...parts.seals, observer: metrics.seals.topics(log) })
    const inserts = new SharedInserts({ ...parts, pace, limits: options.limits, inserted: metrics.inserted })
    const checkLogs = createRegistrationCheck(settings, log)
    const checkDurability = createDurabilityCheck(settings, log)
    const backOff = new BackOff(parts.clock)
    const endLag = followLog(metrics.lag, { ...parts, log })
    try {
      while (!drain.aborted) {
        try {
          await parts.sink.checkAccess()
          await checkLogs(parts)
          await checkDurability()
          status = { ready: true, reason: 'consuming' }
          await watchParts(parts, pace, () =>
            parts.source.run(
              (assignment) => {
                backOff.noteWork()
                return inserts.during(() => work(assignment, { ...parts, inserts, seals, options }))
              },
              drain,
              joined,
            ),
          )
        } catch (error) {
          if (!(error instanceof TrailError && error.retryable)) throw error
          status = { ready: false, reason: error.message }
          metrics.lag.loseMembership()
          const pause = backOff.next()
          log.warn({ code: error.code, retryInMs: pause }, error.message)
          await parts.clock.sleep(pause, drain)
        }
      }
    } finally {
      status = { ready: false, reason: 'stopped' }
      endLag()
      await Promise.allSettled([seals?.close(), parts.source.close(), parts.sink.close()])
    }
  }

  /** The group may give this consumer topics that it does not read: then no other member reads them. */
  function joined(topics: readonly string[]): void {
    metrics.noteJoin()
    foreign = topics
    for (const topic of topics) log.fatal({ topic }, describeForeign(topic))
  }

  async function work(assignment: Assignment, parts: Omit<WriterParts, 'observer'>): Promise<void> {
    log.info({ topic: assignment.topic, partition: assignment.partition }, 'partition assigned')
    const observer = metrics.observe(assignment, log)
    try {
      const check = checkClasses(parts.check, assignment.topic)
      await writePartition(assignment, { ...parts, check, observer })
    } catch (error) {
      metrics.lag.loseMembership()
      throw error
    } finally {
      observer.ended()
    }
  }

  function currentStatus(): Consumer['status'] {
    const stopped = [...metrics.stopped].map(([partition, why]) => `${partition} stopped: ${why}`)
    const reasons = [...foreign.map(describeForeign), ...stopped]
    if (!status.ready || reasons.length === 0) return status
    return { ready: false, reason: reasons.join('\n') }
  }

  return {
    run,
    metrics,
    get status() {
      return currentStatus()
    },
  }
}

function describeForeign(topic: string): string {
  return `the group assigned topic ${topic} to this consumer, whose AUDIT_TOPICS do not name it: its partitions are not read. An older consumer leads the group: restart it with this release`
}

/**
 * The pauses between tries. A good start check does not make them short again: the work itself may fail at once, each time,
 * and a stored batch does not either: one partition may store while another one fails. Only work that has lasted does.
 */
class BackOff {
  readonly #clock: Clock
  #pauseMs = BACK_OFF_MS.first
  /** When the work of this try began; undefined: it has no partition yet. */
  #startedAt: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Work on a partition begins. */
  noteWork(): void {
    this.#startedAt ??= this.#clock.now()
  }

  /** The try has failed. @returns The pause before the next one, milliseconds. */
  next(): number {
    const lastedMs = this.#startedAt === undefined ? 0 : this.#clock.now() - this.#startedAt
    this.#startedAt = undefined
    if (lastedMs >= BACK_OFF_MS.longest) this.#pauseMs = BACK_OFF_MS.first
    const pauseMs = this.#pauseMs
    this.#pauseMs = Math.min(pauseMs * 2, BACK_OFF_MS.longest)
    return pauseMs
  }
}

/** The parts that a consumer is composed of. */
export interface ConsumerParts {
  readonly source: Source
  readonly sink: ClickHouseSink
  readonly clock: Clock
  readonly memory: BufferMemory
  readonly check: RecordCheck
  /** Undefined: without a signing key, in this process or in a signer's. */
  readonly seals?: Pick<SealTopicsParts, 'signer' | 'createSender'> | undefined
}

/** The real parts. Each connects with its first use. */
export function composeParts(settings: Settings): ConsumerParts {
  const sink = createClickHouseSink({
    url: settings.CLICKHOUSE_URL,
    username: settings.CLICKHOUSE_USER,
    password: settings.CLICKHOUSE_PASSWORD,
    ssl: settings.clickHouseTls,
    database: settings.CLICKHOUSE_DATABASE,
    insertTimeoutMs: settings.INSERT_TIMEOUT_MS,
    queryTimeoutMs: settings.QUERY_TIMEOUT_MS,
  })
  const url = settings.SCHEMA_REGISTRY_URL
  const registry = url === undefined ? undefined : createSchemaRegistry({ url, ...settings.registryAccess })
  const check = createRecordCheck(registry)
  const memory = new BufferMemory(settings.BUFFER_MAX_BYTES)
  const seals = composeSeals(settings)
  return { source: composeSource(settings, memory), sink, clock: systemClock, memory, check, seals }
}

function composeSeals(settings: Settings): ConsumerParts['seals'] {
  const signer = composeSigner(settings)
  const { kafka, AUDIT_DATA_DIR: directory } = settings
  if (signer === undefined) return undefined
  if (kafka === undefined) return { signer, createSender: () => createEmbeddedSealSender(directory) }
  return { signer, createSender: () => createKafkaSender({ schemaRegistry: undefined }, kafka) }
}

function composeSigner({
  AUDIT_SIGNING_KEY_FILE: file,
  AUDIT_SIGNER_SOCKET: socket,
}: Settings): SealSigner | undefined {
  if (file !== '') return openKeyFile(file)
  return socket === '' ? undefined : new SocketSigner({ socket })
}

function composeSource(settings: Settings, memory: BufferMemory): Source {
  const group = {
    topics: settings.AUDIT_TOPICS,
    groupId: settings.AUDIT_GROUP_ID,
    sessionTimeoutMs: settings.SESSION_TIMEOUT_MS,
  }
  if (settings.kafka === undefined) return createEmbeddedSource({ ...group, directory: settings.AUDIT_DATA_DIR })
  return createKafkaSource({ ...group, ...settings.kafka, memory, decoders: BATCH_DECODERS })
}

function writerOptions(settings: Settings): WriterOptions {
  return {
    leaseMs: settings.LEASE_MS,
    marginMs: settings.CLOCK_MARGIN_MS,
    renewMs: Math.min(settings.LEASE_MS / 2, settings.LEASE_MS - settings.INSERT_TIMEOUT_MS, MAX_RENEW_MS),
    limits: {
      maxEvents: settings.BATCH_MAX_EVENTS,
      maxBytes: settings.BATCH_MAX_BYTES,
      maxDeadInARow: settings.DEAD_LETTER_MAX_CONSECUTIVE,
    },
  }
}

/** Tells the pace the server's part counts while `work` runs. A failed poll changes nothing. */
async function watchParts({ sink, clock }: ConsumerParts, pace: Pace, work: () => Promise<void>): Promise<void> {
  const done = new AbortController()
  const watching = (async () => {
    while (!done.signal.aborted) {
      pace.noteParts(await sink.mostParts().catch(() => 0))
      await clock.sleep(PARTS_POLL_MS, done.signal)
    }
  })()
  try {
    await work()
  } finally {
    done.abort()
    await watching
  }
}
