/** A ClickHouse in a container. */
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  ADMIN,
  newPassword,
  type Running,
  runStatement,
  serverLimits,
  tryLock,
  userEntries,
  type UserSpec,
} from '@agent-audit/embedded/internal'
import { InvalidInputError } from '@agent-audit/schemas'
import { Container, isPortTaken } from '../containers/container.ts'
import { volumeOf } from '../containers/volumes.ts'

const HTTP_PORT = 8123
const DATA = '/var/lib/clickhouse'
const PRIVATE = 0o600
const PRIVATE_DIRECTORY = 0o700
const MAX_MEMORY_BYTES = 4_000_000_000
/** Tables into which the server would write about itself, for tests that read none of it. */
const OWN_LOGS = [
  'aggregated_zookeeper_log',
  'asynchronous_insert_log',
  'asynchronous_metric_log',
  'background_schedule_pool_log',
  'backup_log',
  'blob_storage_log',
  'crash_log',
  'error_log',
  'latency_log',
  'metric_log',
  'opentelemetry_span_log',
  'part_log',
  'processors_profile_log',
  'query_log',
  'query_metric_log',
  'query_thread_log',
  'query_views_log',
  's3queue_log',
  'session_log',
  'text_log',
  'trace_log',
  'zookeeper_connection_log',
  'zookeeper_log',
]

interface Options<Name extends string> {
  readonly dataDir?: string | undefined
  readonly users: readonly UserSpec<Name>[]
  readonly maxMemoryBytes?: number | undefined
}

/** What a data directory keeps of its server, so that clients reach the next one: its port and its passwords. */
interface Identity {
  readonly port?: number | undefined
  readonly passwords: Readonly<Record<string, string>>
}

/** @param options.dataDir - Its data is in a volume of the engine; one process at a time may use it. */
export async function startContained<Name extends string>(options: Options<Name>): Promise<Running<Name>> {
  const directory = options.dataDir === undefined ? undefined : await hold(options.dataDir)
  try {
    const known = directory === undefined ? { passwords: {} } : await readIdentity(directory.path)
    const names = [ADMIN, ...options.users.map((user) => user.name)]
    const made = Object.fromEntries(names.map((name) => [name, known.passwords[name] ?? newPassword()]))
    const passwords = { ...known.passwords, ...made }
    const volume = directory === undefined ? undefined : await volumeOf(directory.path, 'clickhouse')
    const { container, port } = await startOnce({ options, passwords, volume, port: known.port })
    if (directory !== undefined) await writeIdentity(directory.path, { port, passwords })
    const url = `http://${container.host}:${port}`
    const admin = { username: ADMIN, password: passwords[ADMIN] ?? '' }
    await container.untilReady(() =>
      runStatement(url, admin, 'SELECT 1').then(
        () => true,
        () => false,
      ),
    )
    return {
      url,
      dataDir: '',
      pid: 0,
      attached: false,
      credentials: Object.fromEntries(
        names.map((name) => [name, { username: name, password: passwords[name] ?? '' }]),
      ) as Running<Name>['credentials'],
      stop: () => container.remove().finally(() => directory?.release()),
      kill: () => container.kill().finally(() => directory?.release()),
    }
  } catch (error) {
    directory?.release()
    throw error
  }
}

interface Start<Name extends string> {
  readonly options: Options<Name>
  readonly passwords: Readonly<Record<string, string>>
  readonly volume: string | undefined
  /** The port of the directory's last server. */
  readonly port: number | undefined
}

async function startOnce<Name extends string>(start: Start<Name>): Promise<{ container: Container; port: number }> {
  const { options, passwords, volume } = start
  const order = (port: number): Parameters<typeof Container.start>[0] => ({
    what: 'ClickHouse',
    kind: 'clickhouse',
    ports: { [HTTP_PORT]: port },
    // The users are those of users.d: the image must not make any.
    environment: { CLICKHOUSE_SKIP_USER_SETUP: '1' },
    files: {
      '/etc/clickhouse-server/config.d/agent-audit.xml': serverConfig(options.maxMemoryBytes ?? MAX_MEMORY_BYTES),
      '/etc/clickhouse-server/users.d/agent-audit.xml': usersConfig(options.users, passwords),
    },
    name: volume,
    volume: volume === undefined ? undefined : { name: volume, path: DATA },
  })
  if (start.port !== undefined) {
    try {
      return { container: await Container.start(order(start.port)), port: start.port }
    } catch (error) {
      if (!isPortTaken(error)) throw error
    }
  }
  const { container, ports } = await Container.startOnFreePorts(1, ([port = 0]) => order(port))
  return { container, port: ports[0] ?? 0 }
}

function serverConfig(maxMemoryBytes: number): string {
  return `<clickhouse>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>0.0.0.0</listen_host>
  ${serverLimits(maxMemoryBytes)}
${OWN_LOGS.map((name) => `  <${name} remove="1"/>`).join('\n')}
</clickhouse>
`
}

function usersConfig(users: readonly UserSpec[], passwords: Readonly<Record<string, string>>): string {
  const admin: UserSpec = { name: ADMIN, grants: ['GRANT ALL ON *.*'] }
  const { profiles, entries } = userEntries([admin, ...users], { passwords, network: '::/0' })
  return `<clickhouse>
  <profiles>
${profiles}
  </profiles>
  <users>
    <default remove="remove"/>
${entries}
  </users>
</clickhouse>
`
}

/** The directory of the server's identity, held by this process. */
async function hold(dataDir: string): Promise<{ path: string; release(): void }> {
  const path = join(dataDir, 'clickhouse')
  if (existsSync(join(path, 'passwords.json'))) {
    const message = `data directory ${dataDir} holds the data of an embedded ClickHouse: unset AUDIT_SERVERS, or name another directory`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  await mkdir(path, { recursive: true, mode: PRIVATE_DIRECTORY })
  const lock = tryLock(join(path, 'owner.lock'))
  let held = true
  const release = (): void => {
    if (held) lock?.release()
    held = false
  }
  if (lock !== undefined) return { path, release }
  throw new InvalidInputError('OPTIONS_INVALID', `data directory ${dataDir} is in use by another process`)
}

async function readIdentity(path: string): Promise<Identity> {
  try {
    return JSON.parse(await readFile(identityFile(path), 'utf8')) as Identity
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { passwords: {} }
    throw error
  }
}

function writeIdentity(path: string, identity: Identity): Promise<void> {
  return writeFile(identityFile(path), JSON.stringify(identity), { mode: PRIVATE })
}

function identityFile(path: string): string {
  return join(path, 'container.json')
}
