/** The targets of alerts that the environment names. URLs of webhooks may hold a secret, so none is an option. */
import type * as Detect from '@agent-audit/detect'
import { InvalidInputError } from '@agent-audit/schemas'
import { secretOf } from './connect.ts'
import { KAFKA_HELP, kafkaOf } from './kafka-connection.ts'
import type { Terminal } from './terminal.ts'

export const ALERT_HELP: string = `Alerts, each in the environment: AUDIT_ALERT_WEBHOOK_URL with AUDIT_ALERT_WEBHOOK_SECRET (whsec_…, Standard Webhooks);
AUDIT_ALERT_SLACK_URL; AUDIT_ALERT_TOPIC, a topic of Kafka. URLs and secret also from the file that NAME_FILE names.
${KAFKA_HELP}`

/** @throws InvalidInputError `OPTIONS_INVALID` for a wrong variable. */
export function alertTargets(detect: typeof Detect, env: Terminal['env']): Detect.AlertTarget[] {
  const targets: Detect.AlertTarget[] = []
  const webhook = secretOf(env, 'AUDIT_ALERT_WEBHOOK_URL')
  if (webhook !== undefined) {
    const secret = secretOf(env, 'AUDIT_ALERT_WEBHOOK_SECRET')
    if (secret === undefined) {
      throw new InvalidInputError('OPTIONS_INVALID', 'AUDIT_ALERT_WEBHOOK_URL needs AUDIT_ALERT_WEBHOOK_SECRET')
    }
    targets.push(detect.webhookTarget(webhook, secret))
  }
  const slack = secretOf(env, 'AUDIT_ALERT_SLACK_URL')
  if (slack !== undefined) targets.push(detect.slackTarget(slack))
  const topic = env['AUDIT_ALERT_TOPIC'] || undefined
  if (topic !== undefined) {
    const kafka = kafkaOf(undefined, env)
    if (kafka === undefined) throw new InvalidInputError('OPTIONS_INVALID', 'AUDIT_ALERT_TOPIC needs KAFKA_BROKERS')
    targets.push(detect.topicTarget(topic, kafka))
  }
  return targets
}
