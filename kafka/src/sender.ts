/** The seam to the log: one client of a broker, or of what stands in for it. */

/** Its parts are made when they are asked for. */
export interface OutgoingRecord {
  readonly key: Buffer
  readonly value: Buffer
  /** Bytes of the two together. */
  readonly bytes: number
}

/**
 * One client. The caller MUST connect it once before sending, MUST have at most one send in flight a partition, and MUST
 * discard it (close, make another) after any rejection: what the broker made of the rejected send is not known then.
 */
export interface Sender {
  /** Resolves when the topic is known. @throws TrailError naming the address, and what is wrong there. */
  connect(): Promise<{ partitions: number }>
  /**
   * Appends records to a partition, in order and together; they may be changed in place.
   * Resolves when all in-sync replicas have them.
   */
  send(partition: number, records: readonly OutgoingRecord[]): Promise<{ baseOffset: number }>
  /** Never rejects; sends in flight do. */
  close(): Promise<void>
}
