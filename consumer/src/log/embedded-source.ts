/** The source on the embedded log. One member at a time owns all partitions, fenced by epoch, as in a group of one. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Assignment, type LogPosition, type LogSlice, type Source, storableLogTime } from '@agent-audit/kafka'
import { AuditUnavailableError, logIdOf, TrailError } from '@agent-audit/schemas'
import { type EmbeddedLog, openEmbeddedLog } from '@agent-audit/spool'
import { LogTrim } from './trim-log.ts'

export interface EmbeddedSourceOptions {
  readonly directory: string
  readonly topics: readonly string[]
  readonly groupId: string
  readonly sessionTimeoutMs: number
}

type Joined = Parameters<Source['run']>[2]

/** With the member's name, unique to this source, and its trim. */
type MemberOptions = EmbeddedSourceOptions & {
  readonly member: string
  readonly trim: LogTrim
  readonly joined: Joined
}

/** Pause of a reader at the end of the log before its next read, milliseconds. */
const POLL_MS = 10
/** Bytes of one read from a partition. */
const READ_BYTES = 2 * 2 ** 20

export function createEmbeddedSource(options: EmbeddedSourceOptions): Source {
  const log = openEmbeddedLog({ directory: options.directory })
  // One name for all memberships of this source, so that it rejoins at once where it could not leave.
  const member = randomUUID()
  const trim = new LogTrim(log)
  return {
    run: (work, draining, joined) => runMember(log, { ...options, member, trim, joined }, work, draining),
    sourceId: () => Promise.resolve(log.id),
    positions: async () => options.topics.flatMap((topic) => positionsIn(log, options.groupId, topic)),
    close: async () => {
      await trim.finish()
      log.close()
    },
  }
}

async function runMember(
  log: EmbeddedLog,
  options: MemberOptions,
  work: (assignment: Assignment) => Promise<void>,
  draining: AbortSignal,
): Promise<void> {
  const epoch = await join(log, options, draining)
  if (epoch === undefined) return
  options.joined?.([])
  const heart = startHeartbeats(log, options, epoch)
  try {
    const assignments = options.topics.flatMap((topic) =>
      assignTopic(log, { ...options, topic, epoch }, heart.ended, draining),
    )
    await Promise.all(assignments.map((assignment) => work(assignment)))
    if (heart.fault !== undefined) throw heart.fault.error
    if (!draining.aborted)
      throw new AuditUnavailableError('LOG_UNAVAILABLE', `lost the group ${options.groupId}: rejoining`)
  } finally {
    heart.stop()
    // A log that takes no heartbeat takes no leave either, and would block this thread again until it is known to be busy. The
    // membership expires.
    if (heart.fault === undefined) leave(log, options.groupId, epoch)
  }
}

interface Heart {
  /** Aborted when the epoch is over. */
  readonly ended: AbortSignal
  /** The error of a heartbeat: the disk is full, or another process holds the log too long. */
  readonly fault: { readonly error: unknown } | undefined
  /** Stops the heartbeats, and ends the epoch. */
  stop(): void
}

/** Heartbeats until the member is fenced, or a heartbeat fails: a member that cannot show that it lives must not go on. */
function startHeartbeats(log: EmbeddedLog, { groupId, sessionTimeoutMs }: MemberOptions, epoch: number): Heart {
  const ended = new AbortController()
  let fault: Heart['fault']
  const stop = (): void => {
    clearInterval(timer)
    ended.abort()
  }
  const timer = setInterval(() => {
    try {
      if (!log.heartbeat(groupId, epoch)) stop()
    } catch (error) {
      // Thrown out of a timer, it would end the process.
      fault = { error }
      stop()
    }
  }, sessionTimeoutMs / 10)
  return {
    ended: ended.signal,
    get fault() {
      return fault
    },
    stop,
  }
}

// Its failure must not replace the error that ended the work. The membership expires with the session timeout.
function leave(log: EmbeddedLog, groupId: string, epoch: number): void {
  try {
    log.leave(groupId, epoch)
  } catch (error) {
    if (!(error instanceof TrailError)) throw error
  }
}

// Stands by while another member lives. The membership of a dead one expires with the session timeout.
async function join(
  log: EmbeddedLog,
  { groupId, sessionTimeoutMs, member }: MemberOptions,
  draining: AbortSignal,
): Promise<number | undefined> {
  while (!draining.aborted) {
    const epoch = log.join(groupId, member, sessionTimeoutMs)
    if (epoch !== undefined) return epoch
    await sleep(100, undefined, { signal: draining }).catch(() => undefined)
  }
  return undefined
}

function positionsIn(log: EmbeddedLog, groupId: string, topic: string): LogPosition[] {
  return Array.from({ length: log.partitions(topic) ?? 0 }, (_, partition) => {
    const committed = log.committed(groupId, topic, partition)?.offset
    return { topic, partition, committed, ...log.bounds(topic, partition) }
  })
}

interface Membership {
  readonly trim: LogTrim
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
  { topic, groupId, epoch, trim, partition }: Membership & { partition: number },
  ended: AbortSignal,
  draining: AbortSignal,
): Assignment {
  return {
    logId: logIdOf(log.id, topic),
    topic,
    partition,
    ended,
    draining,
    position: async () => positionOf(log, { groupId, topic, partition }),
    read: (from, until) => readPartition(log, { topic, partition, from }, AbortSignal.any([ended, draining, until])),
    commit: async (offset, metadata, keepFrom = offset) => {
      if (ended.aborted) return 'refused'
      if (!log.commit(groupId, epoch, topic, partition, offset, metadata)) return 'refused'
      trim.committed(topic, partition, { offset, keepFrom })
      return 'acknowledged'
    },
  }
}

// Of one moment: another owner may commit, and trim the log, between two reads. The commit of before would then name records as
// needed that are gone.
function positionOf(
  log: EmbeddedLog,
  { groupId, topic, partition }: { groupId: string; topic: string; partition: number },
): Awaited<ReturnType<Assignment['position']>> {
  for (;;) {
    const committed = log.committed(groupId, topic, partition)
    const bounds = log.bounds(topic, partition)
    const after = log.committed(groupId, topic, partition)
    if (committed?.offset === after?.offset && committed?.metadata === after?.metadata) return { committed, ...bounds }
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
        logTimeMs: storableLogTime(record.appendTimeMs),
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
