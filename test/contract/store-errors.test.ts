/** The same trouble with ClickHouse has the same code in the consumer and in analytics, and names server, user and request. */
import { connectAnalytics, migrate } from '@agent-audit/analytics'
import { readSettings } from '@agent-audit/consumer'
import { composeParts } from '@agent-audit/consumer/pipeline'
import { storeError, TrailError, writerGrants } from '@agent-audit/schemas'
import { clickHouseAvailability, startClickHouse } from '@agent-audit/stack'
import { afterAll, describe, expect, it } from 'vitest'

const availability = clickHouseAvailability()
const REQUEST = { server: 'http://u:p@h:8123', username: 'u', database: 'd', asked: `SELECT 1,\n  2` }
const ASKED = '(asked as user "u" in database "d": SELECT 1, 2)'

/** An error as @clickhouse/client throws it. */
function serverError(code: string, type: string): Error {
  return Object.assign(new Error(`Said: 'value'. `), { code, type })
}

it.each([
  [
    serverError('516', 'AUTHENTICATION_FAILED'),
    'ACCESS_DENIED',
    false,
    'refuses user "u": wrong password, or no such user',
  ],
  [
    serverError('497', 'ACCESS_DENIED'),
    'ACCESS_DENIED',
    false,
    `refuses user "u": Said: 'value'. (code 497, ACCESS_DENIED)`,
  ],
  [serverError('164', 'READONLY'), 'ACCESS_DENIED', false, 'READONLY'],
  [serverError('60', 'UNKNOWN_TABLE'), 'STORE_REFUSED', false, 'run `agent-audit setup` first'],
  [serverError('81', 'UNKNOWN_DATABASE'), 'STORE_REFUSED', false, 'run `agent-audit setup` first'],
  [serverError('159', 'TIMEOUT_EXCEEDED'), 'STORE_LIMIT', true, 'at a limit'],
  [serverError('241', 'MEMORY_LIMIT_EXCEEDED'), 'STORE_LIMIT', true, 'at a limit'],
  [serverError('202', 'TOO_MANY_SIMULTANEOUS_QUERIES'), 'STORE_LIMIT', true, 'at a limit'],
  [serverError('242', 'TABLE_IS_READ_ONLY'), 'STORE_LIMIT', true, 'at a limit'],
  [serverError('62', 'SYNTAX_ERROR'), 'STORE_REFUSED', false, 'is wrong'],
  // It quotes the value, which may be content of an event.
  [serverError('6', 'CANNOT_PARSE_TEXT'), 'STORE_REFUSED', false, 'does not fit the tables: code 6, CANNOT_PARSE_TEXT'],
  [serverError('9999', 'NEW'), 'STORE_REFUSED', true, 'failed: Said'],
  [Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }), 'STORE_UNAVAILABLE', true, 'reached: ECONNREFUSED'],
  [new AggregateError([new Error('one'), new Error('two')]), 'STORE_UNAVAILABLE', true, 'reached: one, two'],
  ['told', 'STORE_UNAVAILABLE', true, 'reached: told'],
])('%s is %s', (cause, code, retryable, message) => {
  const error = storeError(cause, REQUEST)
  expect(error).toMatchObject({ code, retryable, cause })
  expect(error.message).toContain('ClickHouse at http://h:8123 ')
  expect(error.message).toContain(message)
  expect(error.message).toContain(ASKED)
})

it('a time limit of the caller is STORE_LIMIT, whatever the client says', () => {
  const error = storeError(new Error('The user aborted a request.'), {
    ...REQUEST,
    timedOut: { ms: 30_000, setting: 'LIMIT' },
  })
  expect(error).toMatchObject({ code: 'STORE_LIMIT', retryable: true })
  expect(error.message).toContain('within 30000 ms (LIMIT)')
})

describe.skipIf(!availability.available)('on a real ClickHouse', async () => {
  if (!availability.available) return
  const database = `audit_errors_${process.pid}`
  const clickhouse = await startClickHouse({
    users: [
      { name: 'writer', grants: writerGrants(database) },
      { name: 'stranger', grants: [] },
      {
        name: 'limited',
        grants: writerGrants(database),
        settings: { max_memory_usage: '1', max_untracked_memory: '1' },
      },
      { name: 'elsewhere', grants: writerGrants('audit_not_there') },
    ],
  })
  const admin = connectAnalytics({ url: clickhouse.url, database, ...clickhouse.credentials.admin })
  await migrate(admin)
  afterAll(async () => {
    await admin.command('DROP DATABASE IF EXISTS {database:Identifier} SYNC')
    await admin.close()
    await clickhouse.stop()
  })

  type User = keyof typeof clickhouse.credentials
  interface Trouble {
    readonly user?: User
    readonly database?: string
    readonly password?: string
    readonly url?: string
  }

  /** The error of the consumer's sink, and that of analytics, for the same request. */
  async function bothErrors({ user = 'writer', ...change }: Trouble): Promise<TrailError[]> {
    const server = { url: clickhouse.url, database, ...clickhouse.credentials[user], ...change }
    const environment = {
      CLICKHOUSE_URL: server.url,
      CLICKHOUSE_USER: server.username,
      CLICKHOUSE_PASSWORD: server.password,
      CLICKHOUSE_DATABASE: server.database,
      KAFKA_BROKERS: '127.0.0.1:9',
    }
    const { sink } = composeParts(readSettings(environment))
    await using analytics = connectAnalytics(server)
    const logPartition = { logId: Buffer.alloc(8), topic: 'audit.events', partition: 0 }
    const asked = [
      sink.rowsBetween(logPartition, { first: 0, last: 0 }, 'counting'),
      analytics.rows('SELECT run_id FROM {database:Identifier}.audit_events'),
    ]
    const errors = await Promise.all(asked.map((answer) => answer.catch((error: unknown) => error)))
    await sink.close()
    return errors as TrailError[]
  }

  it.each<[string, Trouble, string, boolean, RegExp]>([
    ['a wrong password', { password: 'guess' }, 'ACCESS_DENIED', false, /wrong password/],
    ['a user without rights', { user: 'stranger' }, 'ACCESS_DENIED', false, /grant/],
    ['a missing table', { user: 'admin', database: 'default' }, 'STORE_REFUSED', false, /agent-audit setup/],
    [
      'a missing database',
      { user: 'elsewhere', database: 'audit_not_there' },
      'STORE_REFUSED',
      false,
      /agent-audit setup/,
    ],
    ['a server that is away', { url: 'http://127.0.0.1:1' }, 'STORE_UNAVAILABLE', true, /ECONNREFUSED/],
    ['a limit of the user', { user: 'limited' }, 'STORE_LIMIT', true, /MEMORY_LIMIT_EXCEEDED/],
  ])('%s', async (_, trouble, code, retryable, says) => {
    for (const error of await bothErrors(trouble)) {
      expect(error).toBeInstanceOf(TrailError)
      expect(error).toMatchObject({ code, retryable })
      expect(error.message).toMatch(says)
      const { username } = clickhouse.credentials[trouble.user ?? 'writer']
      expect(error.message).toContain(`as user "${username}" in database`)
      expect(error.message).toContain(new URL(trouble.url ?? clickhouse.url).host)
      expect(error.message).toMatch(/: (?:the rows at offsets 0 to 0 of audit\.events\/0|SELECT run_id FROM \S+)\)$/)
    }
  })
})
