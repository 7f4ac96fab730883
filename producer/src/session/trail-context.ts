/** What a session may ask of its trail. */
import type { TrailError } from '@agent-audit/schemas'
import type { Receipt } from '../api/audit-trail.ts'
import type { EventRecord, RunStamps } from '../record/event-record.ts'
import type { AppendOptions } from '../recorder/recorder.ts'
import type { Durability } from '../options/options.ts'
import type { Redactor } from '../redaction/redactor.ts'
import type { SessionSequences } from './session-sequences.ts'
import type { ApprovalClaims } from '../guard/used-approvals.ts'

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
  /** Milliseconds since 1970. */
  now(): number
  /** Longest wait of a guard for its record, milliseconds. */
  readonly guardTimeoutMs: number
  /** What a guard of this tool does when its record is not stored. */
  onUnavailable(toolName: string): 'refuse' | 'proceed'
  /** Which people's words are used up. */
  readonly claims: ApprovalClaims
  /** Waits until the event is stored as it asked for. Never rejects: says what went wrong, or that it took too long. */
  whenStored(receipt: Receipt, timeoutMs: number): Promise<TrailError | undefined>
  /** Records once events are kept again: now it would be refused, like the one before. */
  recordLater(record: () => void): void
  /** Tells the operator. */
  report(problem: unknown): void
  /** The counters of session_seq, of this run. */
  readonly sequences: SessionSequences
  append(record: EventRecord, options: AppendOptions): Receipt
}
