/** What an alert says, and what a target of alerts is. */
import type { StoredFinding } from '../findings/read-findings.ts'

/** Takes alerts: a webhook, a Slack-compatible webhook, a Kafka topic. */
export interface AlertTarget extends AsyncDisposable {
  /** Stands in audit_alerts: the same for the same target at every start. Without a secret. */
  readonly name: string
  /** Rejects if the target has not taken it. It may be called again for the same finding, which carries the same id. */
  send(finding: StoredFinding): Promise<void>
}

/** The body of an alert: JSON, in the form of Standard Webhooks. */
export function alertBody(finding: StoredFinding): string {
  const {
    state: _,
    decided_by: _by,
    decision_reason: _why,
    decided_at: _at,
    thresholds: _limits,
    run: _run,
    ...data
  } = finding
  return JSON.stringify({ type: 'finding.found', timestamp: finding.found_at, data })
}
