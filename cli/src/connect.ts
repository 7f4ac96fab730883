/** Connects a command to the trail: to the ClickHouse server that the environment names, or to the embedded one of a data directory. */
import type { Analytics, AnalyticsOptions } from '@agent-audit/analytics'
import {
  type ClientTls,
  InvalidInputError,
  type Issue,
  readRegistryAccess,
  readSecret,
  readTlsEnvironment,
  type RegistryConnection,
  urlFault,
} from '@agent-audit/schemas'
import type * as Embedded from '@agent-audit/embedded'
import type { Command } from 'commander'
import { type KeyOptions, openKeys } from './key-store.ts'
import type { Terminal } from './terminal.ts'

export interface ConnectionOptions extends KeyOptions {
  readonly dataDir?: string | undefined
}

/** Adds the option that names an embedded trail. */
export function connectable(command: Command): Command {
  return command.option('-D, --data-dir <dir>', 'embedded trail in this directory (default: CLICKHOUSE_URL)')
}

/**
 * Connects for reading, does the work, and closes, also after an error. `logDir`: the embedded log beside the trail. `role`: the
 * user of an embedded trail; of a server the environment names it.
 */
export async function withTrail<T>(
  options: ConnectionOptions,
  terminal: Terminal,
  work: (analytics: Analytics, logDir: string | undefined) => Promise<T>,
  role: 'reader' | 'detector' | 'notary' = 'reader',
): Promise<T> {
  const keys = await openKeys(options, terminal.env)
  if (options.dataDir === undefined) {
    await using analytics = await connectServer(terminal.env, keys)
    return await work(analytics, undefined)
  }
  const { openDataDir } = await importEmbedded()
  const { connectAnalytics } = await import('@agent-audit/analytics')
  await using dataDir = await openDataDir(options.dataDir, { create: false })
  await using analytics = connectAnalytics({ ...dataDir[role], keys })
  return await work(analytics, dataDir.logDir)
}

/** Connects to the server that the environment names. Loads the client only here: some commands need it only with some options. */
export async function connectServer(env: Terminal['env'], keys?: AnalyticsOptions['keys']): Promise<Analytics> {
  const ssl = clickHouseTls(env)
  const url = urlOf(env, 'CLICKHOUSE_URL', ssl)
  if (url === undefined) {
    const message = 'where is the trail? Set CLICKHOUSE_URL, such as http://localhost:8123, or give --data-dir DIR'
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  const username = env['CLICKHOUSE_USER'] ?? 'default'
  const password = secretOf(env, 'CLICKHOUSE_PASSWORD') ?? ''
  const { connectAnalytics } = await import('@agent-audit/analytics')
  return connectAnalytics({ url, username, password, database: env['CLICKHOUSE_DATABASE'], ssl, keys })
}

/** From CLICKHOUSE_SSL_*. @throws InvalidInputError `OPTIONS_INVALID`, naming every wrong variable. */
export function clickHouseTls(env: Terminal['env']): ClientTls | undefined {
  return readOrThrow((issues) => readTlsEnvironment(env, 'CLICKHOUSE', issues))
}

/** The registry that the environment names. @throws InvalidInputError `OPTIONS_INVALID`, naming every wrong variable. */
export function registryOf(env: Terminal['env']): RegistryConnection | undefined {
  const access = env['SCHEMA_REGISTRY_URL'] ? readOrThrow((issues) => readRegistryAccess(env, issues)) : {}
  const url = urlOf(env, 'SCHEMA_REGISTRY_URL', access.ssl)
  return url === undefined ? undefined : { url, ...access }
}

/** The URL that NAME has; undefined if it has none. @throws InvalidInputError `OPTIONS_INVALID`, without the URL. */
function urlOf(env: Terminal['env'], name: string, tls: ClientTls | undefined): string | undefined {
  const url = env[name] || undefined
  const fault = url === undefined ? undefined : urlFault(url, tls)
  if (fault === undefined) return url
  throw new InvalidInputError('OPTIONS_INVALID', `${name}: ${fault}`, { issues: [{ path: name, expected: fault }] })
}

/** A secret from NAME, or from the file that NAME_FILE names. @throws InvalidInputError `OPTIONS_INVALID`. */
export function secretOf(env: Terminal['env'], name: string): string | undefined {
  return readOrThrow((issues) => readSecret(env, name, issues))
}

/** @throws InvalidInputError `OPTIONS_INVALID`, naming every issue that `read` adds. */
export function readOrThrow<T>(read: (issues: Issue[]) => T): T {
  const issues: Issue[] = []
  const found = read(issues)
  if (issues.length === 0) return found
  const listed = issues.map(({ path, expected }) => `${path}: ${expected}`).join('; ')
  throw new InvalidInputError('OPTIONS_INVALID', listed, { issues })
}

/** The embedded ClickHouse is an optional peer dependency of the command: its library is large and runs on Linux x64 alone. */
export async function importEmbedded(): Promise<typeof Embedded> {
  try {
    return await import('@agent-audit/embedded')
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    const message = '--data-dir needs the embedded ClickHouse: npm install @agent-audit/embedded (Linux x64)'
    throw new InvalidInputError('OPTIONS_INVALID', message, { cause })
  }
}
