/**
 * The seam to the log that records are read from: partitions, shared by the members of a consumer group. Implementations:
 * Kafka (kafka-source.ts), the consumer's embedded log, and the simulation's model. The pipeline cannot tell them apart.
 */
import { IntegrityError } from '@agent-audit/schemas'

/**
 * The log times that a column of ClickHouse holds (DateTime64), and that its months tell apart. A broker's clock gives no other;
 * a producer does, where the topic takes its time (`message.timestamp.type=CreateTime`).
 */
export const LOG_TIMES: { readonly first: number; readonly last: number } = { first: 0, last: Date.UTC(2300, 0) - 1 }

/** The nearest log time that can be stored. */
export function storableLogTime(ms: number): number {
  return ms > LOG_TIMES.last ? LOG_TIMES.last : ms >= LOG_TIMES.first ? ms : LOG_TIMES.first
}

/**
 * `LOG_REPLACED`: a topic is another one than it was. No partition of it may go on, while rows that are not of the log stop the
 * partition that has them.
 */
export class TopicMadeAnewError extends IntegrityError {
  constructor(message: string) {
    super('LOG_REPLACED', message)
  }
}

/** One record of the log, as the broker returned it. */
export interface LogRecord {
  readonly offset: number
  /** Append time at the broker, milliseconds since 1970, within {@link LOG_TIMES}. */
  readonly logTimeMs: number
  readonly key: Buffer | null
  /** null is a tombstone. */
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, unknown>> | undefined
}

/** A contiguous offset range. Offsets without a record (compacted, aborted, control) are holes. Slices follow on one another. */
export interface LogSlice {
  /** First offset of the range. */
  readonly firstOffset: number
  readonly records: readonly LogRecord[]
  /** Offset behind the range; it lies above the last record where the range ends in holes. */
  readonly nextOffset: number
  /** Offset that the next appended record will get. Its distance from `nextOffset` is the lag. */
  readonly logEnd: number
}

/** The result of a commit. `unanswered`: it may still land, so the caller must conclude nothing from it. */
export type CommitAnswer = 'acknowledged' | 'refused' | 'unanswered'

/** The group's committed offset for a partition, with its metadata. */
export interface Committed {
  readonly offset: number
  readonly metadata: string
}

/** A partition of a log. */
export interface LogPartition {
  /** See {@link import('@agent-audit/schemas').logIdOf}; 8 bytes. */
  readonly logId: Buffer
  readonly topic: string
  readonly partition: number
}

/**
 * A partition assigned to this member, for one epoch: from one join of the group to the next. Once `ended` is aborted, the
 * partition may have another owner: work on it MUST stop, and its commits are refused without being sent.
 */
export interface Assignment extends LogPartition {
  readonly ended: AbortSignal
  /** Aborted when the consumer is about to leave: finish the batch in hand, take no new one. */
  readonly draining: AbortSignal
  /** The group's committed offset, if any, and the offsets that the log holds: `[start, end)`. */
  position(): Promise<{ committed: Committed | undefined; start: number; end: number }>
  /**
   * Reads from an offset on, until the assignment ends, the consumer drains or `until` is aborted; one reader at a time.
   * A slice is valid until the next one is requested: then its records may be gone. Fetching pauses while no slice is taken.
   * @throws IntegrityError `LOG_TRUNCATED` if the log does not hold the offset, `BATCH_UNREADABLE` if records cannot be
   * unpacked. All records before them have been yielded by then.
   */
  read(from: number, until: AbortSignal): AsyncGenerator<LogSlice, void, void>
  /**
   * Sends one commit with this epoch's generation, once: never repeated, never from an epoch that has ended. Every record below
   * `offset` MUST be stored: the embedded log deletes them, all but the last.
   * @param keepFrom - Stored records from this offset on are needed all the same, and are not deleted.
   */
  commit(offset: number, metadata: string, keepFrom?: number): Promise<CommitAnswer>
  /**
   * Everything that was read before this call is of the log that {@link Source.topicIds} told first. Undefined: a log of this kind
   * is not made anew under its id.
   * @throws TopicMadeAnewError; AuditUnavailableError `BROKER_UNAVAILABLE`, also while the topic does not exist.
   */
  expectSameLog?(): Promise<void>
}

/** What a log and the group say of one partition, at about the same moment. */
export interface LogPosition {
  readonly topic: string
  readonly partition: number
  /** The group's committed offset, if any. */
  readonly committed: number | undefined
  /** The offsets that the log holds: `[start, end)`. */
  readonly start: number
  readonly end: number
}

export interface Source {
  /**
   * Joins the group and calls `work` with an assignment for each assigned partition, again after each rebalance. Leaves the
   * group and returns once `drain` is aborted and all work is done.
   * @param joined - Called after each join, with the topics that the group assigned to this member although it does not subscribe
   * them, mostly none: their partitions are not taken, and no other member reads them until the next join.
   * @throws the error of `work`, after leaving the group; AuditUnavailableError `BROKER_UNAVAILABLE` if the broker is lost.
   */
  run(
    work: (assignment: Assignment) => Promise<void>,
    drain: AbortSignal,
    joined?: (foreign: readonly string[]) => void,
  ): Promise<void>
  /** Cluster id of the broker, or the UUID of the embedded log. */
  sourceId(): Promise<string>
  /**
   * Ids that tell a topic from one that is made anew under its name; none from brokers before 3.1. Undefined: not needed.
   * @throws TopicMadeAnewError if an id is not the one that it told first.
   */
  topicIds?(): Promise<ReadonlyMap<string, string>>
  /**
   * The positions of all partitions of all topics, whichever member owns them.
   * @throws AuditUnavailableError if broker or log are out of reach.
   */
  positions(): Promise<LogPosition[]>
  /**
   * The members that the group has at the moment, such as `agent-audit at /10.0.0.7`. Undefined: a log of this kind lets one member
   * in at a time.
   * @throws AuditUnavailableError `BROKER_UNAVAILABLE`
   */
  members?(): Promise<readonly string[]>
  close(): Promise<void>
}

/** The memory budget that all partitions of the process share, as far as fetching uses it. */
export interface FetchMemory {
  /** Whether fetching should pause. */
  readonly tight: boolean
  /** Calls back whenever {@link tight} changes, until the returned function is called. */
  watch(onChange: () => void): () => void
  /** Counts bytes that the caller holds. */
  reserve(bytes: number): void
  release(bytes: number): void
  /**
   * Runs `take`, whose size is known only afterwards, one at a time, and counts its bytes until they are released.
   * @returns undefined if `stop` was aborted before its turn came.
   */
  inTurn<T>(
    stop: AbortSignal,
    take: () => Promise<{ value: T; bytes: number }>,
  ): Promise<{ readonly value: T; release(): void } | undefined>
}

/**
 * Unpacks the content of a record batch of Kafka.
 * @throws Error if it is corrupt, or more than `maxBytes`.
 */
export type BatchDecoder = (packed: Buffer, maxBytes: number) => Buffer

/** The codecs that Node lacks. A batch of a codec without a decoder cannot be read. */
export interface BatchDecoders {
  readonly snappy?: BatchDecoder
  readonly lz4?: BatchDecoder
}
