/**
 * A trail's counters and gauges in an agent's own monitoring: as Prometheus text for its `/metrics`, and as instruments of
 * OpenTelemetry. docs/telemetry.md explains each of them.
 */
import type { AuditTrail, TrailStats } from '@agent-audit/producer'
import type { Attributes, Meter } from '@opentelemetry/api'

type Labels = Readonly<Record<string, string>>

interface Metric {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
  readonly values: (stats: TrailStats) => readonly (readonly [value: number, labels?: Labels])[]
}

const one = (read: (stats: TrailStats) => number): Metric['values'] => {
  return (stats) => [[read(stats)]]
}

const METRICS: readonly Metric[] = [
  counter(
    'events_recorded_total',
    'Events recorded, refused ones included',
    one(({ recorded }) => recorded),
  ),
  counter(
    'events_acked_total',
    'Events acknowledged by the broker',
    one(({ acked }) => acked),
  ),
  counter(
    'events_failed_total',
    'Events whose receipts have rejected',
    one(({ refused }) => refused),
  ),
  counter('events_lost_total', 'Events refused or lost, by reason', ({ lost }) =>
    Object.entries(lost).map(([reason, events]) => [events, { reason }] as const),
  ),
  counter(
    'delivery_restarts_total',
    'Unexpected failures of delivery',
    one(({ restarts }) => restarts),
  ),
  gauge(
    'spool_events',
    'Events on disk that are not acknowledged',
    one(({ spoolEvents }) => spoolEvents),
  ),
  gauge(
    'spool_bytes',
    'Their bytes',
    one(({ spoolBytes }) => spoolBytes),
  ),
  gauge(
    'spool_oldest_seconds',
    'Age of the oldest of them',
    one(({ spoolOldestMs }) => spoolOldestMs / 1000),
  ),
  gauge(
    'buffer_bytes',
    'Bytes of events in memory alone',
    one(({ bufferBytes }) => bufferBytes),
  ),
  gauge(
    'connected',
    '1 while connected to the broker',
    one(({ connected }) => Number(connected)),
  ),
]

function counter(name: string, help: string, values: Metric['values']): Metric {
  return { name: `audit_producer_${name}`, type: 'counter', help, values }
}

function gauge(name: string, help: string, values: Metric['values']): Metric {
  return { name: `audit_producer_${name}`, type: 'gauge', help, values }
}

/** The text that Prometheus scrapes. @param labels - Such as agent_id and topic. */
export function prometheusText(trail: Pick<AuditTrail, 'stats'>, labels: Labels): string {
  const stats = trail.stats()
  const lines = METRICS.flatMap(({ name, type, help, values }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...values(stats).map(([value, more]) => `${name}{${labelText({ ...labels, ...more })}} ${value}`),
  ])
  return `${lines.join('\n')}\n`
}

function labelText(labels: Labels): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join()
}

/** What Prometheus escapes in a label's value: it refuses any other escape, such as JSON's of a tab. */
function escaped(value: string): string {
  return value.replaceAll(/["\\]/g, String.raw`\$&`).replaceAll('\n', String.raw`\n`)
}

/** The same as instruments of OpenTelemetry: `observe(metrics.getMeter('my-agent'), trail, { agent_id, topic })`. */
export function observe(meter: Meter, trail: AuditTrail, attributes: Attributes): void {
  for (const { name, type, help: description, values } of METRICS) {
    const instrument =
      type === 'counter'
        ? meter.createObservableCounter(name, { description })
        : meter.createObservableGauge(name, { description })
    instrument.addCallback((result) => {
      for (const [value, more] of values(trail.stats())) result.observe(value, { ...attributes, ...more })
    })
  }
}
