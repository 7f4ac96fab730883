/** Reads a log again, for `verify --kafka`: as a member of a group that commits nothing. */
import { randomUUID } from 'node:crypto'
import type { LogReader } from '@agent-audit/analytics'
import type { Assignment, Source } from '@agent-audit/kafka'
import { InvalidInputError, logIdOf } from '@agent-audit/schemas'
import { kafkaOf } from './kafka-connection.ts'
import type { Terminal } from './terminal.ts'

type Ranges = Parameters<LogReader['read']>[1]
type Take = Parameters<LogReader['read']>[2]

/** Its members have the name of the group before the dot; an administrator can allow the prefix. */
const GROUP = 'audit-verify'
const SESSION_MS = 10_000
const MEMORY_BYTES = 16 * 2 ** 20

interface LogOptions {
  readonly brokers?: string | undefined
  /** The embedded log beside the trail. */
  readonly logDir: string | undefined
}

/** @throws InvalidInputError `OPTIONS_INVALID`, if no log is named */
export function openLogReader({ brokers, logDir }: LogOptions, terminal: Terminal): LogReader {
  const withSource = sourcesOf({ brokers, logDir }, terminal)
  return {
    kept: (topic) =>
      withSource(topic, async (source) => {
        const log = logIdOf(await source.sourceId(), topic).toString('hex')
        return (await source.positions()).map(({ partition, start, end }) => ({ log, partition, start, end }))
      }),
    read: (topic, ranges, take) => withSource(topic, (source) => readRanges(source, ranges, take)),
  }
}

type WithSource = <T>(topic: string, use: (source: Source) => Promise<T>) => Promise<T>

function sourcesOf({ brokers, logDir }: LogOptions, { env }: Terminal): WithSource {
  const kafka = brokers === undefined && logDir !== undefined ? undefined : kafkaOf(brokers, env)
  if (kafka === undefined && logDir === undefined) {
    const message =
      'verify --kafka: where is the log? Set KAFKA_BROKERS, or give --brokers, or --data-dir for an embedded log'
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  return async (topic, use) => {
    const { BATCH_DECODERS, BufferMemory, createEmbeddedSource } = await import('@agent-audit/consumer/pipeline')
    const { createKafkaSource } = await import('@agent-audit/kafka/source')
    const group = { topics: [topic], sessionTimeoutMs: SESSION_MS }
    const source =
      kafka === undefined
        ? // One name: the embedded log keeps each. A second verify waits until the first one has left.
          createEmbeddedSource({ ...group, groupId: GROUP, directory: logDir ?? '' })
        : createKafkaSource({
            ...kafka,
            ...group,
            // A name of its own: two that verify at a time do not share the partitions.
            groupId: `${GROUP}.${randomUUID()}`,
            memory: new BufferMemory(MEMORY_BYTES),
            decoders: BATCH_DECODERS,
          })
    try {
      return await use(source)
    } finally {
      await source.close()
    }
  }
}

/** Until each partition has been read; after a rebalance those that were not begin again. */
async function readRanges(source: Source, ranges: Ranges, take: Take): Promise<void> {
  const left = new Set(ranges.keys())
  const drain = new AbortController()
  await source.run(async (assignment) => {
    const own = ranges.get(assignment.partition)
    if (own === undefined || !left.has(assignment.partition)) return
    for (const { first, last } of own) if (!(await readRange(assignment, { first, last }, take))) return
    left.delete(assignment.partition)
    if (left.size === 0) drain.abort()
  }, drain.signal)
}

/** @returns false, if the assignment has ended before. */
async function readRange(
  assignment: Assignment,
  { first, last }: { readonly first: number; readonly last: number },
  take: Take,
): Promise<boolean> {
  const until = new AbortController()
  for await (const slice of assignment.read(first, until.signal)) {
    for (const record of slice.records) if (record.offset <= last) take(assignment.partition, record)
    if (slice.nextOffset > last) return true
  }
  return false
}
