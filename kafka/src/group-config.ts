/** The configuration of a member of the consumer group. */
import type { ConsumerConfig } from 'kafkajs'
import { assignBySubscription } from './assigner.ts'

/** How soon a member learns that the group waits for it to rejoin, milliseconds. */
export const HEARTBEAT_MS = 1000
/** Longest wait of an empty fetch, milliseconds. A seek or a resume takes effect no later. */
const FETCH_WAIT_MS = 100
/** How soon added partitions are found, milliseconds: kafkajs refreshes its metadata at this age, by default 5 minutes. */
const METADATA_MAX_AGE_MS = 30_000
/** A fetch waits for this many bytes, or for FETCH_WAIT_MS. Without it every few records would cost a round trip. */
const MIN_BYTES = 64 * 1024
/** Compressed bytes of one partition, and of all partitions in a response. Unpacked into objects they weigh many times that. */
const MAX_BYTES_PER_PARTITION = 2 ** 18
const MAX_BYTES = 2 ** 20

export function memberConfig(group: { readonly groupId: string; readonly sessionTimeoutMs: number }): ConsumerConfig {
  const { groupId, sessionTimeoutMs } = group
  return {
    groupId,
    sessionTimeout: sessionTimeoutMs,
    rebalanceTimeout: sessionTimeoutMs,
    heartbeatInterval: Math.min(HEARTBEAT_MS, Math.floor(sessionTimeoutMs / 10)),
    maxWaitTimeInMs: FETCH_WAIT_MS,
    minBytes: MIN_BYTES,
    metadataMaxAge: METADATA_MAX_AGE_MS,
    maxBytesPerPartition: MAX_BYTES_PER_PARTITION,
    maxBytes: MAX_BYTES,
    allowAutoTopicCreation: false,
    partitionAssigners: [assignBySubscription],
    // After a crash the member leaves, and the consumer joins again with its own back-off.
    retry: { retries: 5, initialRetryTime: 100, restartOnFailure: () => Promise.resolve(false) },
  }
}
