/** Metrics of `detect run` and `detect watch`. */
import type { Delivered, Detector, Judged } from '@agent-audit/detect'
import type { FileMetric } from './metrics-file.ts'

const COUNTERS = {
  audit_detect_events_total: 'New events that were judged.',
  audit_detect_sessions_total: 'Sessions that were read for it.',
  audit_detect_findings_total: 'Findings that were not known before.',
  audit_detect_failures_total: 'Failures of detectors.',
  audit_detect_store_errors_total: 'Looks at the log that the store did not answer.',
  audit_detect_alerts_total: 'Alerts that their targets took.',
  audit_detect_alert_failures_total: 'Tries of alerts that their targets did not take.',
} as const
const GAUGES = {
  audit_detect_alerts_waiting: 'Alerts that are to be sent.',
  audit_detect_last_look_timestamp_seconds: 'When the log was last judged, seconds since 1970.',
} as const
const LAG = 'audit_detect_lag_seconds'
const LAG_HELP =
  'How long the oldest event of the last look had been in the log when it was judged, by unit of the detectors.'
type Name = keyof typeof COUNTERS | keyof typeof GAUGES

export class DetectMetrics {
  readonly #lag = new Map<Detector['unit'], number>([
    ['session', 0],
    ['query', 0],
  ])
  readonly #values = new Map<Name, number>(
    [...Object.keys(COUNTERS), ...Object.keys(GAUGES)].map((name) => [name as Name, 0]),
  )

  judged({ events, sessions, findings, failed, lagMs }: Judged, unit: Detector['unit']): void {
    // Detectors of both units judge the same events.
    if (unit === 'session') this.#add('audit_detect_events_total', events)
    this.#add('audit_detect_sessions_total', sessions)
    this.#add('audit_detect_findings_total', findings)
    this.#add('audit_detect_failures_total', failed.length)
    this.#lag.set(unit, lagMs / 1000)
    this.#values.set('audit_detect_last_look_timestamp_seconds', Date.now() / 1000)
  }

  delivered({ delivered, waiting }: Delivered): void {
    this.#add('audit_detect_alerts_total', delivered)
    this.#values.set('audit_detect_alerts_waiting', waiting)
  }

  problem(): void {
    this.#add('audit_detect_store_errors_total', 1)
  }

  alertProblem(): void {
    this.#add('audit_detect_alert_failures_total', 1)
  }

  #add(name: Name, value: number): void {
    this.#values.set(name, (this.#values.get(name) ?? 0) + value)
  }

  /** For a file: of this run alone. */
  ofRun(): FileMetric[] {
    const help: Readonly<Record<string, string>> = { ...COUNTERS, ...GAUGES }
    const plain = [...this.#values].map(([name, value]) => ({
      name: name.replace(/_total$/, ''),
      help: help[name] ?? '',
      samples: [{ value }],
    }))
    const lag = [...this.#lag].map(([unit, value]) => ({ labels: { unit }, value }))
    return [...plain, { name: LAG, help: LAG_HELP, samples: lag }]
  }

  /** The text format of Prometheus. */
  text(): string {
    const lines = (names: Readonly<Record<string, string>>, type: string): string[] =>
      Object.entries(names).map(
        ([name, help]) =>
          `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${this.#values.get(name as Name) ?? 0}\n`,
      )
    const lag = [...this.#lag].map(([unit, value]) => `${LAG}{unit="${unit}"} ${value}\n`)
    const head = `# HELP ${LAG} ${LAG_HELP}\n# TYPE ${LAG} gauge\n`
    return [...lines(COUNTERS, 'counter'), ...lines(GAUGES, 'gauge'), head, ...lag].join('')
  }
}
