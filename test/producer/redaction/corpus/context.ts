/** Secrets that a word or a form around them gives away, and texts that look like them. */
import { DIGITS, HEX, LETTERS_DIGITS, some, WORD } from './random.ts'
import type { Case } from './tokens.ts'

const BASE64 = `${LETTERS_DIGITS}+/`

function hit(rule: string, before: string, secret: string, after = ''): Case {
  return { rule, secret, text: before + secret + after }
}

function keyFile(kind: string, headers = ''): Case[] {
  const secret = Array.from({ length: 5 }, () => some(64, BASE64)).join('\n')
  const begin = `-----BEGIN ${kind}-----\n${headers}`
  const end = `\n-----END ${kind}-----`
  const inString = secret.replaceAll('\n', String.raw`\n`)
  return [
    hit('private_key', begin, secret, end),
    hit('private_key', begin, secret),
    hit('private_key', begin, inString),
  ]
}

export const CONTEXT_HITS: readonly Case[] = [
  ...['PRIVATE KEY', 'RSA PRIVATE KEY', 'EC PRIVATE KEY', 'OPENSSH PRIVATE KEY', 'PGP PRIVATE KEY BLOCK'].flatMap(
    (kind) => keyFile(kind),
  ),
  ...keyFile('RSA PRIVATE KEY', 'Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00AA11BB22CC33DD\n\n'),
  ...['Bearer ', 'bearer ', 'BEARER ', 'Bearer\t', '\u001B[1mBearer ', 'curl -d x bearer '].map((word) =>
    hit('bearer', word, some(32)),
  ),
  ...['postgres', 'https', 'amqp', 'redis', 'mongodb+srv'].flatMap((scheme) => [
    hit('url_password', `${scheme}://app:`, some(12), '@db:5432/x'),
    hit('url_password', `${scheme}://app:`, `${some(5)}@${some(8)}`, '@db/x'),
  ]),
  hit('url_password', 'https://app:', some(400), '@db/x'),
  ...['services/T0001/B0001/', 'workflows/T0001/A0001/', 'triggers/T0001/1/'].map((path) =>
    hit('slack_webhook', `https://hooks.slack.com/${path}`, some(24)),
  ),
  hit('webhook', `https://discord.com/api/webhooks/${some(18, DIGITS)}/`, some(68, WORD)),
  hit(
    'webhook',
    'https://x.webhook.office.com/webhookb2/',
    `${some(36, HEX)}@${some(36, HEX)}/IncomingWebhook/${some(32, HEX)}`,
  ),
  ...['M', 'N', 'O'].map((first) => hit('discord_token', `bot: ${first}${some(23)}.`, `${some(6, WORD)}.${some(38)}`)),
  ...['', 'bot', 'https://api.telegram.org/bot'].map((before) =>
    hit('telegram_token', `${before}${some(10, DIGITS)}:`, `AA${some(33, WORD)}`),
  ),
]

const CONTEXT_LOOK_ALIKE_TEXTS: Readonly<Record<string, readonly string[]>> = {
  private_key: [
    '-----BEGIN CERTIFICATE-----\nMIIB',
    '-----BEGIN PUBLIC KEY-----\nMIIB',
    'the PRIVATE KEY is in the vault',
  ],
  bearer: ['Bearer authentication-of-some-kind', 'the bearer of this letter', 'Bearer <token>', 'cupbearer 2024'],
  url_password: [
    'https://example.com:8443/a@b',
    'https://example.com/@ann',
    'https://ann@example.com/x',
    'http://[::1]:80/x',
  ],
  slack_webhook: ['https://hooks.slack.com/services/', 'https://slack.com/help/articles/1234567890-some-long-title'],
  webhook: ['https://example.com/api/webhooks/list', 'https://example.com/webhook/of-a-service-with-a-long-name-2024'],
  discord_token: ['Module-with-a-long-name-24.config.json', 'Name-of-a-file-with-parts.tar.gz'],
  telegram_token: ['12345678:AAshort', '12:30:45:AA'],
}

export const CONTEXT_LOOK_ALIKES: readonly Omit<Case, 'secret'>[] = Object.entries(CONTEXT_LOOK_ALIKE_TEXTS).flatMap(
  ([rule, texts]) => texts.map((text) => ({ rule, text })),
)
