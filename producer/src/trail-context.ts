/** What a session may ask of its trail. */
import type { Receipt } from './audit-trail.ts'
import type { EventRecord, RunStamps } from './event-record.ts'
import type { Durability } from './options.ts'
import type { AppendOptions } from './recorder.ts'
import type { Redactor } from './redaction/redactor.ts'

export interface TrailContext {
  /** 32 hex digits. */
  readonly runId: string
  readonly stamps: RunStamps
  readonly inputMessages: 'full' | 'new'
  readonly syntheticTimestamps: boolean
  /** Undefined: nothing is redacted. */
  readonly redactor: Redactor | undefined
  /** @throws InvalidInputError `TRAIL_CLOSED`. */
  checkOpen(): void
  /** @throws InvalidInputError `EVENT_INVALID` when the trail cannot give this durability. */
  checkDurability(durability: Durability | undefined): void
  /** Never throws, whatever the caller's function does. */
  traceContext(): { traceId: string; spanId: string } | undefined
  append(record: EventRecord, options: AppendOptions): Receipt
}
