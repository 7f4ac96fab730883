/** A running ClickHouse server, named by CLICKHOUSE_URL. */
import { randomBytes } from 'node:crypto'
import type { Credentials } from '@agent-audit/embedded'
import { ADMIN, newPassword, type Running, runStatement, type UserSpec } from '@agent-audit/embedded/internal'
import { AuditUnavailableError } from '@agent-audit/schemas'

/**
 * Creates the users on the server, each under a name that only this call uses: two processes on one server neither share
 * rights nor lock each other out by a changed password. `stop` drops the users; those it does not drop expire after a day.
 * A user whose password the environment has, as AUDIT_WRITER_PASSWORD for audit_writer, is there already: docker-compose.yml
 * defines its users in a file, and its passwords are known.
 */
export async function attachNamed<Name extends string>(
  url: string,
  admin: Credentials,
  specs: readonly UserSpec<Name>[],
): Promise<Running<Name>> {
  const suffix = randomBytes(4).toString('hex')
  const known = specs.flatMap(({ name }) => {
    const password = process.env[`${name.toUpperCase()}_PASSWORD`]
    return password ? [{ name, username: name, password }] : []
  })
  const users = specs
    .filter(({ name }) => known.every((user) => user.name !== name))
    .map((spec) => ({ spec, username: `${spec.name}_${suffix}`, password: newPassword() }))
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
      ...Object.fromEntries(known.map(({ name, username, password }) => [name, { username, password }])),
      ...Object.fromEntries(users.map(({ spec, username, password }) => [spec.name, { username, password }])),
    } as Running<Name>['credentials'],
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
