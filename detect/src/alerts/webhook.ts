/**
 * Alerts over HTTP: to a webhook, signed as https://www.standardwebhooks.com says, and to a Slack-compatible one. A redirect is
 * not followed: the alert goes to the host that the operator named.
 */
import { createHash, createHmac } from 'node:crypto'
import { InvalidInputError, urlFault } from '@agent-audit/schemas'
import type { StoredFinding } from '../findings/read-findings.ts'
import { alertBody, type AlertTarget } from './alert.ts'

const TIMEOUT_MS = 10_000
/** Of Standard Webhooks. */
const KEY_BYTES = { least: 24, most: 64 }

/**
 * A webhook that checks a signature. Headers: `webhook-id` (the finding's id), `webhook-timestamp` (seconds), and
 * `webhook-signature` (HMAC-SHA256).
 * @param secret - `whsec_` and base64 of 24 to 64 bytes.
 * @throws InvalidInputError `OPTIONS_INVALID` for a wrong URL or secret, without them.
 */
export function webhookTarget(url: string, secret: string): AlertTarget {
  expectUrl('the webhook', url)
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  if (key.length < KEY_BYTES.least || key.length > KEY_BYTES.most) {
    const expected = `expected whsec_ and base64 of ${KEY_BYTES.least} to ${KEY_BYTES.most} bytes`
    throw new InvalidInputError('OPTIONS_INVALID', `the secret of the webhook: ${expected}`)
  }
  return httpTarget('webhook', url, (finding) => {
    const body = alertBody(finding)
    const [id, timestamp] = [finding.finding_id, String(Math.floor(Date.now() / 1000))]
    const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
    const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
    return { headers, body }
  })
}

/**
 * A webhook that takes `{"text": …}`, as Slack, Mattermost and others do. Its URL is its secret.
 * @throws InvalidInputError `OPTIONS_INVALID` for a wrong URL, without it.
 */
export function slackTarget(url: string): AlertTarget {
  expectUrl('the Slack webhook', url)
  return httpTarget('slack', url, (finding) => ({ headers: {}, body: JSON.stringify({ text: slackText(finding) }) }))
}

/** Recorded text mentions no person, links nothing and breaks no line. */
function slackText(finding: StoredFinding): string {
  const { severity, detector, agent_id, session_id, summary, finding_id } = finding
  const where = session_id === null ? `agent ${agent_id}` : `agent ${agent_id}, session ${session_id}`
  return `${severity.toUpperCase()} ${escaped(detector)}: ${escaped(summary)}\n${escaped(where)}, finding ${finding_id}`
}

function escaped(text: string): string {
  const plain = text.replaceAll(/[\p{C}\p{Z}]+/gu, ' ')
  // Slack needs three characters escaped. A word joiner keeps bare links, links of Markdown (Mattermost) and mentions from working.
  const inert = plain.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  const unlinked = inert.replaceAll('://', ':\u2060//').replaceAll(/www\./gi, '$&\u2060').replaceAll('](', ']\u2060(')
  return unlinked.replaceAll('@', '@\u2060')
}

function httpTarget(
  kind: string,
  url: string,
  request: (finding: StoredFinding) => { headers: Record<string, string>; body: string },
): AlertTarget {
  const digest = createHash('sha256').update(url).digest('hex').slice(0, 12)
  const name = `${kind} ${new URL(url).host} ${digest}`
  return {
    name,
    async send(finding) {
      const { headers, body } = request(finding)
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'agent-audit', ...headers },
        body,
        redirect: 'manual',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      await response.body?.cancel()
      if (!response.ok) throw new Error(`it answered ${response.status}`)
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

function expectUrl(what: string, url: string): void {
  // A query is a part of many webhooks' URLs.
  const fault = urlFault(url.split('?', 1)[0] ?? '')
  if (fault !== undefined) throw new InvalidInputError('OPTIONS_INVALID', `${what}: ${fault}`)
}
