/** The files of the embedded ClickHouse in its data directory: their paths, and the server's configuration. */
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export const ADMIN = 'admin'
const PASSWORD_BYTES = 18
/** Profile of the library's own session. Not `default`, from which all other profiles take settings. No name of a user. */
const OWN_PROFILE = 'own-session'
const OWN_SESSION = { settings: { max_sessions_for_user: '1' }, constSettings: ['max_sessions_for_user'] }
const LOOPBACK = '127.0.0.1'
const PRIVATE = 0o600
const PRIVATE_DIRECTORY = 0o700

/** A ClickHouse user: its name, its rights, its session settings. */
export interface UserSpec<Name extends string = string> {
  readonly name: Name
  /** Full statements without the grantee, such as `GRANT INSERT ON audit.audit_events`. */
  readonly grants: readonly string[]
  /** Settings of the user's sessions, such as `{ max_threads: '2' }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** Those of the settings that the user cannot change. */
  readonly constSettings?: readonly string[] | undefined
  /** Row policies: the condition of the rows that the user sees, by `<database>.<table>`. */
  readonly filters?: Readonly<Record<string, string>> | undefined
}

/** The order of the parent to the host process. No secrets: it is a process argument, and other users can read those. */
export interface HostOrder {
  readonly library: string
  readonly dataDir: string
  readonly httpPort: number
  readonly maxMemoryBytes: number
  readonly users: readonly UserSpec[]
  /** Whether the host removes the data directory once the server has ended, if the parent has died. */
  readonly temporary: boolean
}

/**
 * What the host says, once. `busy`: another process holds the directory. `unusable`: a file is not what it should be.
 * `starting`: the host holds the directory; `unconfined` says why the server can open every file of its account, if it can.
 */
export type HostReport =
  | { readonly is: 'busy' }
  | { readonly is: 'unusable'; readonly why: string }
  | { readonly is: 'starting'; readonly unconfined?: string | undefined }

/** The address of a running server. Its parent writes it once the server answers; the next owner removes it before its start. */
export interface Endpoint {
  readonly url: string
  readonly pid: number
  /** Names of the users this server knows, for processes that attach. */
  readonly users: readonly string[]
}

export type Passwords = Readonly<Record<string, string>>

export interface DataDirPaths {
  /** ClickHouse's part of the data directory. The account alone enters it. */
  readonly home: string
  readonly lock: string
  readonly endpoint: string
  readonly passwords: string
  readonly config: string
  readonly users: string
  readonly errors: string
  readonly data: string
}

export function paths(dataDir: string): DataDirPaths {
  const home = join(dataDir, 'clickhouse')
  return {
    home,
    lock: join(home, 'owner.lock'),
    endpoint: join(home, 'endpoint.json'),
    passwords: join(home, 'passwords.json'),
    config: join(home, 'config.xml'),
    users: join(home, 'users.xml'),
    errors: join(home, 'server.err'),
    data: join(home, 'data'),
  }
}

/** Makes ClickHouse's part of the data directory, and the directories above it that are missing. Other accounts enter none. */
export function makeHome(dataDir: string): void {
  const { home } = paths(dataDir)
  mkdirSync(home, { recursive: true, mode: PRIVATE_DIRECTORY })
  // It may be older than this rule.
  chmodSync(home, PRIVATE_DIRECTORY)
}

/** Writes configuration, users and missing passwords. Only the lock's holder may call it. */
export function prepareDataDir(order: HostOrder): void {
  const files = paths(order.dataDir)
  rmSync(files.endpoint, { force: true })
  mkdirSync(files.data, { recursive: true, mode: PRIVATE_DIRECTORY })
  const known = readPasswords(order.dataDir)
  const names = [ADMIN, ...order.users.map((user) => user.name)]
  const passwords = { ...known, ...Object.fromEntries(names.map((name) => [name, known[name] ?? newPassword()])) }
  writeWhole(files.passwords, JSON.stringify(passwords, undefined, 2))
  writeWhole(files.config, serverConfig(order, files.users))
  writeWhole(files.users, usersConfig(order.users, passwords))
}

/** Reads the passwords of a data directory; empty before its first start. */
export function readPasswords(dataDir: string): Passwords {
  return (readJson(paths(dataDir).passwords) as Passwords | undefined) ?? {}
}

/**
 * Reads the endpoint of a data directory's last or present server; undefined before it is ready. It may be stale: ask the
 * server which directory it serves before using it.
 */
export function readEndpoint(dataDir: string): Endpoint | undefined {
  return readJson(paths(dataDir).endpoint) as Endpoint | undefined
}

export function writeEndpoint(dataDir: string, endpoint: Endpoint): void {
  writeWhole(paths(dataDir).endpoint, JSON.stringify(endpoint))
}

/** A random password of 144 bits, safe in XML, SQL and URLs. */
export function newPassword(): string {
  return randomBytes(PASSWORD_BYTES).toString('base64url')
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    if (error instanceof SyntaxError) throw new SyntaxError(`${path} is not JSON`, { cause: error })
    throw error
  }
}

/** Replaces the file by a rename: a reader sees the old text or the new one, never a part. */
function writeWhole(path: string, text: string): void {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, text, { mode: PRIVATE })
  renameSync(draft, path)
}

/**
 * Small pools and caches: the server shares a developer's machine with Kafka, the consumer and the tests. Idle connections
 * are closed after 4 s: an orderly stop waits for them, but they must outlive the 2.5 s after which the client closes an
 * idle one itself.
 *
 * Statements are answered, at `/`, and nothing else: no page, no `/ping`. A browser's request gets 404 before it is
 * authenticated: it has an Origin, or as Host the name in the address bar, which may have been made to resolve to loopback.
 */
function serverConfig(order: HostOrder, usersFile: string): string {
  return `<clickhouse>
  <listen_host>127.0.0.1</listen_host>
  <http_port>${order.httpPort}</http_port>
  <http_handlers>
    <rule>
      <url>/</url>
      <headers><host>regex:^(127[.]0[.]0[.]1|localhost)(:[0-9]+)?$</host><origin></origin></headers>
      <handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>
    </rule>
  </http_handlers>
  <logger><level>none</level></logger>
  <access_control_improvements><enable_read_write_grants>true</enable_read_write_grants></access_control_improvements>
  <users_config>${escapeXml(usersFile)}</users_config>
  <keep_alive_timeout>4</keep_alive_timeout>
  ${serverLimits(order.maxMemoryBytes)}
</clickhouse>
`
}

/** The part of a server's configuration that bounds what it takes from the machine. */
export function serverLimits(maxMemoryBytes: number): string {
  return `<max_server_memory_usage>${maxMemoryBytes}</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <index_mark_cache_size>16777216</index_mark_cache_size>
  <primary_index_cache_size>268435456</primary_index_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <mmap_cache_size>100</mmap_cache_size>
  <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
  <background_pool_size>4</background_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <background_fetches_pool_size>1</background_fetches_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <merge_tree>
    <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>4</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>`
}

/**
 * `default` is the session of the library itself: it starts the server, and lasts as long. The library opens it without a
 * password and with the address of loopback, so its one session is all it may have: a request as `default` is refused,
 * from before the server listens. It has only the rights that starting the server needs.
 */
function usersConfig(users: readonly UserSpec[], passwords: Passwords): string {
  const admin: UserSpec = { name: ADMIN, grants: ['GRANT ALL ON *.*'] }
  const starter = [
    'GRANT SYSTEM LISTEN ON *.*',
    'GRANT CREATE ARBITRARY TEMPORARY TABLE ON *.*',
    'GRANT TABLE ENGINE ON File',
    "GRANT READ ON FILE('-')",
  ]
  const { profiles, entries } = userEntries([admin, ...users], { passwords, network: LOOPBACK })
  return `<clickhouse>
  <profiles>
    <default/>
    <${OWN_PROFILE}>${settingsXml(OWN_SESSION)}</${OWN_PROFILE}>
${profiles}
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default><password></password>${userXml(OWN_PROFILE, starter, LOOPBACK)}</default>
${entries}
  </users>
</clickhouse>
`
}

/** The entries of users in a server's configuration, and their profiles. They are reached from the network alone. */
export function userEntries(
  users: readonly UserSpec[],
  { passwords, network }: { readonly passwords: Passwords; readonly network: string },
): { readonly profiles: string; readonly entries: string } {
  const entry = ({ name, grants, filters }: UserSpec): string =>
    `    <${name}><password_sha256_hex>${sha256(passwords[name] ?? '')}</password_sha256_hex>${userXml(name, grants, network)}${filtersXml(filters)}</${name}>`
  return {
    profiles: users.map((user) => `    <${user.name}>${settingsXml(user)}</${user.name}>`).join('\n'),
    entries: users.map(entry).join('\n'),
  }
}

function userXml(profile: string, grants: readonly string[], network: string): string {
  const queries = grants.map((grant) => `<query>${escapeXml(grant)}</query>`).join('')
  return `<networks><ip>${network}</ip></networks><profile>${profile}</profile><quota>default</quota><grants>${queries}</grants>`
}

function filtersXml(filters: UserSpec['filters'] = {}): string {
  const entries = Object.entries(filters).map(([name, condition]) => {
    const [database = '', table = ''] = name.split('.')
    return `<${database}><${table}><filter>${escapeXml(condition)}</filter></${table}></${database}>`
  })
  return entries.length === 0 ? '' : `<databases>${entries.join('')}</databases>`
}

function sha256(password: string): string {
  return createHash('sha256').update(password).digest('hex')
}

function settingsXml(user: Pick<UserSpec, 'settings' | 'constSettings'>): string {
  const settings = Object.entries(user.settings ?? {})
  const values = settings.map(([name, value]) => `<${name}>${escapeXml(value)}</${name}>`).join('')
  const constraints = (user.constSettings ?? []).map((name) => `<${name}><const/></${name}>`).join('')
  return `${values}<constraints>${constraints}</constraints>`
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
