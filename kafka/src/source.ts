/**
 * Where records come from: a log of partitions, shared by the members of a consumer group. Kafka (kafka-source.ts) or
 * the embedded log (embedded-source.ts); the rest of the consumer cannot tell which.
 */

/** One record of the log, as the broker gave it. */
export interface LogRecord {
  readonly offset: number
  /** Append time at the broker, milliseconds since 1970. */
  readonly logTimeMs: number
  readonly key: Buffer | null
  /** null is a tombstone. */
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, unknown>> | undefined
}

/** All there is of a stretch of the log: its offsets that have no record here are holes. Slices follow on one another. */
export interface LogSlice {
  /** First offset it accounts for. */
  readonly firstOffset: number
  readonly records: readonly LogRecord[]
  /** Offset after the last one this slice accounts for; above the last record where the log ends in holes. */
  readonly nextOffset: number
  /** Offset the next record appended to the partition will get; with `nextOffset` the lag. */
  readonly logEnd: number
}

/** What became of a commit. `unanswered`: it may still land, so nothing may be concluded from it. */
export type CommitAnswer = 'acknowledged' | 'refused' | 'unanswered'

/** What the group keeps for a partition. */
export interface Committed {
  readonly offset: number
  readonly metadata: string
}

/** Which partition of which log. */
export interface TopicPartition {
  /** See {@link import('@agent-audit/schemas').logIdOf}; 8 bytes. */
  readonly logId: Buffer
  readonly topic: string
  readonly partition: number
}

/**
 * One partition in one epoch: one join of the group. Once `ended` is aborted the group may have given the partition to
 * somebody else: work for this assignment MUST stop, and its commits are refused without being sent.
 */
export interface Assignment extends TopicPartition {
  readonly ended: AbortSignal
  /** Aborted when the consumer wants to leave: finish what is in hand, take nothing new. */
  readonly draining: AbortSignal
  /** What the group has committed, and the offsets the log holds: `[start, end)`. */
  position(): Promise<{ committed: Committed | undefined; start: number; end: number }>
  /**
   * Reads on from an offset, until the assignment ends, the consumer drains or `until` is aborted; one reader at a time.
   * A slice is done with when the next one is asked for: from then on it may have lost its records. Fetching pauses while slices are not taken.
   * @throws IntegrityError `LOG_TRUNCATED` if the log does not hold the offset.
   */
  read(from: number, until: AbortSignal): AsyncGenerator<LogSlice, void, void>
  /** Sends one commit with this epoch's generation, once: never repeated, never from an epoch that has ended. */
  commit(offset: number, metadata: string): Promise<CommitAnswer>
}

export interface Source {
  /**
   * Joins the group and calls `work` with an assignment for each assigned partition, again after each rebalance. Leaves the
   * group and returns once `drain` is aborted and all work is done.
   * @throws What `work` throws, after leaving the group; AuditUnavailableError `BROKER_UNAVAILABLE` if the broker is lost.
   */
  run(work: (assignment: Assignment) => Promise<void>, drain: AbortSignal): Promise<void>
  /** Cluster id of the broker, or the UUID of the embedded log. */
  sourceId(): Promise<string>
  close(): Promise<void>
}

/** The memory that all partitions of the process buffer records in, as far as fetching concerns it. */
export interface FetchMemory {
  /** Whether nothing more should be fetched. */
  readonly tight: boolean
  /** Calls back whenever {@link tight} changes, until the returned function is called. */
  watch(onChange: () => void): () => void
  /** Counts bytes that are held elsewhere. */
  reserve(bytes: number): void
  release(bytes: number): void
  /**
   * Takes something whose size is known only afterwards, one taker at a time, and counts it until it is released.
   * @returns undefined if `stop` was aborted before.
   */
  inTurn<T>(
    stop: AbortSignal,
    take: () => Promise<{ value: T; bytes: number }>,
  ): Promise<{ readonly value: T; release(): void } | undefined>
}
