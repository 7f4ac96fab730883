/** What recording an event gives back. */
import type { Durability } from './trail-options.ts'

/** How one event is recorded. An unknown option is an error (`EVENT_INVALID`), and nothing is recorded. */
export interface RecordOptions {
  /** The durability of this event. `disk` needs a trail whose own durability is `disk`. @defaultValue the trail's */
  durability?: Durability | undefined
}

/** The position of an event in its topic. */
export interface Acknowledgement {
  /** Topic of the trail's retention class. */
  readonly topic: string
  /** Partition of the event's session. */
  readonly partition: number
  /** Offset in the partition. */
  readonly offset: number
}

/**
 * Returned at once. The promises are made when they are read, and never become unhandled rejections. A receipt is not a
 * promise itself: an event that the caller does not wait for leaves no floating promise.
 */
export interface Receipt {
  /** UUIDv7 of the event. */
  readonly event_id: string
  /**
   * Resolves when the event has the durability asked for.
   * Rejects with AuditUnavailableError `BUFFER_FULL` or `SPOOL_FULL` if the event was refused, `SPOOL_UNAVAILABLE` if it
   * was lost; an events_lost event then explains the gap.
   */
  readonly stored: Promise<void>
  /** Resolves when all in-sync replicas have the event; rejects as `stored` does. */
  readonly acked: Promise<Acknowledgement>
}
