/** A ClickHouse server that somebody else runs, named by CLICKHOUSE_URL. */
import { randomBytes } from 'node:crypto'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { type Credentials, runStatement } from './clickhouse-client.ts'
import type { Running } from './clickhouse-embedded.ts'
import { ADMIN, newPassword, type UserSpec } from './clickhouse-files.ts'

/**
 * Makes the users on the server, each under a name of this run's own: two runs on one server neither share rights nor
 * lock each other out by a changed password. `stop` drops them again, and they end by themselves after a day.
 */
export async function attachExternal(url: string, admin: Credentials, specs: readonly UserSpec[]): Promise<Running> {
  const suffix = randomBytes(4).toString('hex')
  const users = specs.map((spec) => ({ spec, username: `${spec.name}_${suffix}`, password: newPassword() }))
  try {
    await runStatement(url, admin, 'SELECT 1')
    for (const { spec, username, password } of users) {
      await runStatement(url, admin, createUser(spec, username, password))
      for (const grant of spec.grants) await runStatement(url, admin, `${grant} TO ${username}`)
    }
  } catch (error) {
    const cause = error instanceof Error ? (error.cause instanceof Error ? error.cause.message : error.message) : ''
    throw new AuditUnavailableError('PART_UNAVAILABLE', `CLICKHOUSE_URL ${url} cannot be used: ${cause}`, {
      cause: error,
    })
  }
  return {
    url,
    dataDir: '',
    pid: 0,
    attached: true,
    credentials: {
      [ADMIN]: admin,
      ...Object.fromEntries(users.map(({ spec, username, password }) => [spec.name, { username, password }])),
    },
    stop: async () => {
      for (const { username } of users) await runStatement(url, admin, `DROP USER IF EXISTS ${username}`)
    },
    kill: () => Promise.resolve(),
  }
}

function createUser(spec: UserSpec, username: string, password: string): string {
  const settings = Object.entries(spec.settings ?? {}).map(
    ([name, value]) => `${name} = '${value}'${spec.constSettings?.includes(name) === true ? ' CONST' : ''}`,
  )
  const clause = settings.length === 0 ? '' : ` SETTINGS ${settings.join(', ')}`
  const end = new Date(Date.now() + 86_400_000).toISOString().slice(0, 19)
  return `CREATE USER ${username} IDENTIFIED WITH sha256_password BY '${password}' VALID UNTIL '${end}'${clause}`
}
