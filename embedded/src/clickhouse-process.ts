/**
 * A real ClickHouse server from the embedded library, in a child process that holds the lock of its data directory.
 *
 * The first starter owns the directory; the others attach. The race of two starters, step by step: both spawn a host; one
 * host gets the lock and says `starting`, the other says `busy` and exits. The loser reads the endpoint file until one names
 * a server that answers: the winner's host removed any older file before it said `starting`, and the loser asks every server
 * it finds, with the directory's password, which directory it serves. If the winner dies before its server is ready, the
 * loser's next try finds the lock free and the loser becomes the owner.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { embeddedAvailability, findLibrary } from './availability.ts'
import { type Credentials, runStatement } from './clickhouse-client.ts'
import {
  ADMIN,
  type Endpoint,
  type HostOrder,
  type HostReport,
  makeHome,
  paths,
  readEndpoint,
  readPasswords,
  type UserSpec,
  writeEndpoint,
} from './clickhouse-files.ts'
import { onDirectory } from './directory-errors.ts'
import { tryLock } from './file-lock.ts'
import { freePorts, isFree } from './free-port.ts'

const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 20_000
const POLL_MS = 25
const PORT_ATTEMPTS = 5
const ERROR_LINES = 15
const MAX_MEMORY_BYTES = 4_000_000_000
/**
 * What the host inherits. No secrets: users of the server can read its environment. No NODE_OPTIONS: a module that they
 * preload could start threads before the host confines itself.
 */
const ENVIRONMENT = ['PATH', 'HOME', 'TMPDIR', 'TZ', 'LANG', 'LC_ALL', 'LD_LIBRARY_PATH', 'NODE_COMPILE_CACHE']
const BUSY = 'another process holds the data directory, and its server does not answer'

/** A server on a data directory: this process started it, or attached to it. */
export interface Running<Name extends string = string> {
  /** Such as `http://127.0.0.1:23456`. A server started again on its data directory has the same one if it is still free. */
  readonly url: string
  /** Directory of the data; empty for a server named by CLICKHOUSE_URL. */
  readonly dataDir: string
  /** By the name that was asked for; on a server named by CLICKHOUSE_URL the real user name differs. */
  readonly credentials: Readonly<Record<Name | 'admin', Credentials>>
  /** Process id of the embedded server, 0 for one named by CLICKHOUSE_URL. */
  readonly pid: number
  /** Whether another process runs it: `stop` and `kill` then leave it alone. */
  readonly attached: boolean
  /** Ends the server in order: it waits for running queries, and cuts them short after 20 s. */
  stop(): Promise<void>
  /** A crash: SIGKILL. The data directory can be started again. */
  kill(): Promise<void>
}

export interface ClickHouseServer<Name extends string = never> extends Running<Name>, AsyncDisposable {}

export interface EmbeddedOptions<Name extends string = string> {
  /** Where the server keeps its data, made when missing. @defaultValue a temporary directory, removed by `stop`. */
  readonly dataDir?: string | undefined
  /** Users besides `admin`, which has all rights. */
  readonly users: readonly UserSpec<Name>[]
  /** Upper bound of the server's memory, bytes. @defaultValue 4,000,000,000 */
  readonly maxMemoryBytes?: number | undefined
}

/**
 * Starts the server, or attaches to the live one of this data directory.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if it cannot run on this machine, or does not start;
 * InvalidInputError `OPTIONS_INVALID` if this account may not use the directory.
 */
export async function startEmbedded<const Name extends string = string>(
  options: EmbeddedOptions<Name>,
): Promise<Running<Name>> {
  const library = findLibrary()
  const availability = embeddedAvailability()
  if (!availability.available || library === undefined) {
    const reason = availability.available ? 'libchdb.so was removed' : availability.reason
    throw new AuditUnavailableError('PART_UNAVAILABLE', reason)
  }
  const temporary = options.dataDir === undefined
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'agent-audit-clickhouse-')))
  const { users, maxMemoryBytes = MAX_MEMORY_BYTES } = options
  return onDirectory(dataDir, () => {
    makeHome(dataDir)
    return startOn({ library, users, maxMemoryBytes, dataDir: realpathSync(dataDir), temporary })
  })
}

async function startOn(order: Omit<HostOrder, 'httpPort'>): Promise<Running> {
  const deadline = Date.now() + START_TIMEOUT_MS
  let failure = ''
  let portsTaken = 0
  while (portsTaken < PORT_ATTEMPTS && Date.now() < deadline) {
    const httpPort = await choosePort(order.dataDir)
    const outcome = await tryStart({ ...order, httpPort }, deadline)
    if (typeof outcome === 'object') return outcome
    failure = outcome
    if (outcome === BUSY) {
      const attached = await attach(order)
      if (attached !== undefined) return attached
      await sleep(POLL_MS * 4)
    } else {
      // Another process may have taken the port between its choice and its use: then try once more, with another port.
      if (!/address already in use/i.test(outcome)) break
      portsTaken++
    }
  }
  if (order.temporary) removeUnused(order.dataDir)
  throw new AuditUnavailableError('PART_UNAVAILABLE', `ClickHouse did not start on ${order.dataDir}: ${failure}`)
}

/** The port of the directory's last server, if it is free: then clients of a crashed server reach the next one. */
async function choosePort(dataDir: string): Promise<number> {
  const last = readEndpoint(dataDir)
  const lastPort = last === undefined ? 0 : Number(new URL(last.url).port)
  if (lastPort !== 0 && (await isFree(lastPort))) return lastPort
  const [port = 0] = await freePorts(1)
  return port
}

/** @returns The server; {@link BUSY} when another server holds the directory; else why it failed. */
async function tryStart(order: HostOrder, deadline: number): Promise<Running | string> {
  const { errors } = paths(order.dataDir)
  // A separate file for each host until one has the lock: each of several starters at once reads its own host's output.
  const output = `${errors}.${randomUUID()}`
  const child = spawnHost(order, output)
  // Not its exit, which Node.js may tell before it has read what the host has said: `close` follows the last output.
  const closed = once(child, 'close')
  const said = Promise.race([child.stdout === null ? [] : once(child.stdout, 'data'), closed.then(() => [])])
  const [line] = await said
  const report = line === undefined ? undefined : (JSON.parse(String(line)) as HostReport)
  child.stdout?.resume()
  if (report !== undefined && report.is !== 'starting') {
    await closed
    rmSync(output)
    return report.is === 'busy' ? BUSY : report.why
  }
  if (report?.unconfined !== undefined) warnUnconfined(order.dataDir, report.unconfined)
  const url = `http://127.0.0.1:${order.httpPort}`
  while (isAlive(child) && Date.now() < deadline) {
    if (await serves(url, order.dataDir)) {
      renameSync(output, errors)
      return owned(child, order, url)
    }
    await sleep(POLL_MS)
  }
  const how = isAlive(child)
    ? `no answer for ${START_TIMEOUT_MS / 1000} s`
    : `it ended (${child.signalCode ?? `exit code ${child.exitCode}`})`
  await end(child, 0)
  renameSync(output, errors)
  return [how, ...lastLines(errors)].join('\n')
}

function warnUnconfined(dataDir: string, why: string): void {
  const message = `the ClickHouse on ${dataDir} is not confined to its files: ${why}. Its users can read every file of this account, passwords included`
  process.emitWarning(message, { code: 'AGENT_AUDIT_UNCONFINED' })
}

/** @param output - File of its standard error: a pipe would block the server when the parent is too busy to read. */
function spawnHost(order: HostOrder, output: string): ChildProcess {
  const host = fileURLToPath(new URL(`clickhouse-host${extname(import.meta.url)}`, import.meta.url))
  const errors = openSync(output, 'wx', 0o600)
  try {
    // A separate process group: Ctrl-C in the terminal reaches the parent only, which stops its parts in order.
    return spawn(process.execPath, [host, JSON.stringify(order)], {
      detached: true,
      env: Object.fromEntries(ENVIRONMENT.map((name) => [name, process.env[name]])),
      stdio: ['pipe', 'pipe', errors, 'pipe'],
    })
  } finally {
    closeSync(errors)
  }
}

function owned(child: ChildProcess, order: HostOrder, url: string): Running {
  const users = [ADMIN, ...order.users.map((user) => user.name)]
  const pid = child.pid ?? 0
  writeEndpoint(order.dataDir, { url, pid, users })
  return {
    url,
    dataDir: order.dataDir,
    pid,
    attached: false,
    credentials: credentialsOf(order.dataDir, users),
    stop: async () => {
      await end(child, STOP_TIMEOUT_MS)
      if (order.temporary) removeUnused(order.dataDir)
    },
    kill: () => end(child, 0),
  }
}

async function attach(order: Omit<HostOrder, 'httpPort'>): Promise<Running | undefined> {
  const endpoint = readEndpoint(order.dataDir)
  if (endpoint === undefined || !(await serves(endpoint.url, order.dataDir))) return undefined
  const missing = order.users.filter((user) => !endpoint.users.includes(user.name)).map((user) => user.name)
  if (missing.length > 0) {
    const message = `the ClickHouse running on ${order.dataDir} has no user ${missing.join(', ')}: stop it and start again`
    throw new AuditUnavailableError('PART_UNAVAILABLE', message)
  }
  return attachedTo(endpoint, order.dataDir)
}

function attachedTo(endpoint: Endpoint, dataDir: string): Running {
  return {
    url: endpoint.url,
    dataDir,
    pid: endpoint.pid,
    attached: true,
    credentials: credentialsOf(dataDir, endpoint.users),
    stop: leaveAlone,
    kill: leaveAlone,
  }
}

function leaveAlone(): Promise<void> {
  return Promise.resolve()
}

function credentialsOf(dataDir: string, users: readonly string[]): Running['credentials'] {
  const passwords = readPasswords(dataDir)
  return Object.fromEntries(users.map((name) => [name, { username: name, password: passwords[name] ?? '' }]))
}

/**
 * Whether the server at `url` serves this directory. Any process may listen on the port of a dead server: only a server with
 * the directory's password and data path counts.
 */
async function serves(url: string, dataDir: string): Promise<boolean> {
  const password = readPasswords(dataDir)[ADMIN]
  if (password === undefined) return false
  const statement = "SELECT path FROM system.disks WHERE name = 'default'"
  try {
    const path = await runStatement(url, { username: ADMIN, password }, statement)
    return realpathSync(path) === realpathSync(paths(dataDir).data)
  } catch {
    return false
  }
}

/** Ends the child: closes its input, and kills it after `graceMs`. */
async function end(child: ChildProcess, graceMs: number): Promise<void> {
  if (!isAlive(child)) return
  const exited = once(child, 'exit')
  child.stdin?.end()
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
  if (graceMs === 0) child.kill('SIGKILL')
  await exited
  clearTimeout(timer)
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

/** Removes a temporary directory, unless a live server holds it: it may have been started again after a crash. */
function removeUnused(dataDir: string): void {
  if (!existsSync(dataDir)) return
  const lock = tryLock(paths(dataDir).lock)
  if (lock === undefined) return
  lock.release()
  rmSync(dataDir, { recursive: true, force: true })
}

function lastLines(file: string): string[] {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  return lines.slice(-ERROR_LINES).filter((line) => line !== '')
}
