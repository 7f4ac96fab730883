/** Names that all writers and readers of the trail share, and the identity of a log. */
import { createHash } from 'node:crypto'

export const DEFAULT_TOPIC = 'audit.events'
export const DEFAULT_CONSUMER_GROUP = 'audit-writer'
export const DEFAULT_DATABASE = 'audit'
export const DEFAULT_RETENTION_CLASS = 'default'

export const EVENTS_TABLE = 'audit_events'
export const SKIPPED_TABLE = 'audit_skipped'
export const LOGS_TABLE = 'audit_logs'
/** Expiry notes: the offsets, and the numbers of runs, that retention drops. */
export const EXPIRED_TABLE = 'audit_expired'
export const EXPIRED_RUNS_TABLE = 'audit_expired_runs'
/** Forged rows that count no more. */
export const QUARANTINED_TABLE = 'audit_quarantined'
/** What detectors have found, where each stands in the log, what their runs did, and the alerts that were delivered. */
export const FINDINGS_TABLE = 'audit_findings'
export const DETECTOR_CURSORS_TABLE = 'audit_detector_cursors'
export const DETECTOR_RUNS_TABLE = 'audit_detector_runs'
export const ALERTS_TABLE = 'audit_alerts'
/** SQL expressions that tell the rows of one offset apart, for rows of both tables (an event has the kind event) and for the quarantine. */
export const ROW_KEY = `toString(kind), ifNull(hex(run_id), ''), ifNull(run_seq, -1), ifNull(toString(event_id), ''), log_time`

/**
 * Identity of a log: the first 8 bytes of SHA-256 over the Kafka cluster id (or the embedded log's UUID), a NUL and the
 * topic. One table holds rows of many logs; the identity tells them apart.
 */
export function logIdOf(sourceId: string, topic: string): Buffer {
  return createHash('sha256').update(`${sourceId}\0${topic}`).digest().subarray(0, 8)
}

/** Topic of a retention class: each class has its own topic, so that one insert touches one partition of the table. */
export function topicOfClass(topic: string, retentionClass: string): string {
  return retentionClass === DEFAULT_RETENTION_CLASS ? topic : `${topic}.${retentionClass}`
}

/**
 * Classes whose records may be in a topic: the inverse of {@link topicOfClass}. One for `audit.events` and the topics below it.
 * Another name tells only the candidates: `acme.events.pci` may be of `default`, `events.pci` or `pci`.
 */
export function classesOfTopic(topic: string): readonly string[] {
  if (topic === DEFAULT_TOPIC) return [DEFAULT_RETENTION_CLASS]
  if (isBelowDefaultTopic(topic)) return [topic.slice(DEFAULT_TOPIC.length + 1)]
  const [, ...parts] = topic.split('.')
  return [DEFAULT_RETENTION_CLASS, ...parts.map((_, index) => parts.slice(index).join('.'))]
}

/** Whether the topic is named after a class of the default topic. Such a name is no base for the topics of classes. */
export function isBelowDefaultTopic(topic: string): boolean {
  return topic.startsWith(`${DEFAULT_TOPIC}.`)
}
