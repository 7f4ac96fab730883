/** The source on the embedded log. One member at a time owns all partitions, fenced by epoch, as in a group of one. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Assignment, LogSlice, Source } from '@agent-audit/kafka'
import { AuditUnavailableError, logIdOf } from '@agent-audit/schemas'
import { type EmbeddedLog, openEmbeddedLog } from '@agent-audit/spool'

export interface EmbeddedSourceOptions {
  readonly directory: string
  readonly topics: readonly string[]
  readonly groupId: string
  readonly sessionTimeoutMs: number
}

/** Pause of a reader at the end of the log before its next read, milliseconds. */
const POLL_MS = 10
/** Bytes of one read from a partition. */
const READ_BYTES = 2 * 2 ** 20

export function createEmbeddedSource(options: EmbeddedSourceOptions): Source {
  const log = openEmbeddedLog({ directory: options.directory })
  return {
    run: (work, draining) => runMember(log, options, work, draining),
    sourceId: () => Promise.resolve(log.id),
    close: () => Promise.resolve(log.close()),
  }
}

async function runMember(
  log: EmbeddedLog,
  options: EmbeddedSourceOptions,
  work: (assignment: Assignment) => Promise<void>,
  draining: AbortSignal,
): Promise<void> {
  const member = randomUUID()
  const epoch = await join(log, options, member, draining)
  if (epoch === undefined) return
  const ended = new AbortController()
  const heart = setInterval(() => {
    if (!log.heartbeat(options.groupId, epoch)) ended.abort()
  }, options.sessionTimeoutMs / 10)
  try {
    const assignments = options.topics.flatMap((topic) =>
      assignTopic(log, { ...options, topic, epoch }, ended.signal, draining),
    )
    await Promise.all(assignments.map((assignment) => work(assignment)))
    if (!draining.aborted)
      throw new AuditUnavailableError('LOG_UNAVAILABLE', `lost the group ${options.groupId}: rejoining`)
  } finally {
    clearInterval(heart)
    ended.abort()
    log.leave(options.groupId, epoch)
  }
}

// Stands by while another member lives. The membership of a dead one expires with the session timeout.
async function join(
  log: EmbeddedLog,
  { groupId, sessionTimeoutMs }: EmbeddedSourceOptions,
  member: string,
  draining: AbortSignal,
): Promise<number | undefined> {
  while (!draining.aborted) {
    const epoch = log.join(groupId, member, sessionTimeoutMs)
    if (epoch !== undefined) return epoch
    await sleep(100, undefined, { signal: draining }).catch(() => undefined)
  }
  return undefined
}

interface Membership {
  readonly topic: string
  readonly groupId: string
  readonly epoch: number
}

function assignTopic(log: EmbeddedLog, member: Membership, ended: AbortSignal, draining: AbortSignal): Assignment[] {
  const { topic } = member
  const count = log.partitions(topic)
  if (count === undefined) {
    throw new AuditUnavailableError(
      'LOG_UNAVAILABLE',
      `the embedded log has no topic ${topic} yet: a producer creates it`,
    )
  }
  return Array.from({ length: count }, (_, partition) =>
    assignPartition(log, { ...member, partition }, ended, draining),
  )
}

function assignPartition(
  log: EmbeddedLog,
  { topic, groupId, epoch, partition }: Membership & { partition: number },
  ended: AbortSignal,
  draining: AbortSignal,
): Assignment {
  return {
    logId: logIdOf(log.id, topic),
    topic,
    partition,
    ended,
    draining,
    position: async () => ({ committed: log.committed(groupId, topic, partition), ...log.bounds(topic, partition) }),
    read: (from, until) => readPartition(log, { topic, partition, from }, AbortSignal.any([ended, draining, until])),
    commit: async (offset, metadata) => {
      if (ended.aborted) return 'refused'
      return log.commit(groupId, epoch, topic, partition, offset, metadata) ? 'acknowledged' : 'refused'
    },
  }
}

async function* readPartition(
  log: EmbeddedLog,
  { topic, partition, from }: { topic: string; partition: number; from: number },
  stop: AbortSignal,
): AsyncGenerator<LogSlice, void, void> {
  let next = from
  while (!stop.aborted) {
    const records = log.read(topic, partition, next, READ_BYTES)
    const last = records.at(-1)
    if (last === undefined) {
      await sleep(POLL_MS, undefined, { signal: stop }).catch(() => undefined)
      continue
    }
    const firstOffset = next
    next = last.offset + 1
    yield {
      firstOffset,
      records: records.map((record) => ({
        offset: record.offset,
        logTimeMs: record.appendTimeMs,
        key: asBuffer(record.key),
        value: asBuffer(record.value),
        headers: undefined,
      })),
      nextOffset: next,
      logEnd: log.bounds(topic, partition).end,
    }
  }
}

function asBuffer(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
