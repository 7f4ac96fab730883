/**
 * What a trail publishes through `node:diagnostics_channel`, for an agent's own monitoring. Only rare events are published:
 * no record, and no acknowledgement. Counters and gauges are in `AuditTrail.stats()`.
 */
import type { ErrorCode, TrailError } from '@agent-audit/schemas'

/** The trail that publishes. */
export interface TelemetrySource {
  /** The trail's option. */
  readonly agentId: string
  /** The trail's option. */
  readonly topic: string
  /** 32 hex digits. */
  readonly runId: string
}

/** `agent-audit:lost`: events were refused or lost, each once. */
export interface LostMessage extends TelemetrySource {
  /** Why. */
  readonly code: ErrorCode
  /** How many; 0 when a damaged spool does not say so. */
  readonly events: number
}

/** `agent-audit:delivery`: delivery has changed its state. */
export interface DeliveryMessage extends TelemetrySource {
  /** `restarted`: delivery failed unexpectedly, and is started again. `stopped`: it failed for good. */
  readonly state: 'connected' | 'disconnected' | 'restarted' | 'stopped'
}

/** `agent-audit:problem`: what `onProblem` is called with, at most once a second for each error code. */
export interface ProblemMessage extends TelemetrySource {
  /** Never holds the content of an event. */
  readonly error: TrailError
}

/** The channels by name, and what a subscriber of each gets. */
export interface TelemetryChannels {
  /** Events were refused or lost. */
  'agent-audit:lost': LostMessage
  /** Delivery has changed its state. */
  'agent-audit:delivery': DeliveryMessage
  /** As onProblem. */
  'agent-audit:problem': ProblemMessage
}
