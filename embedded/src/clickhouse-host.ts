/**
 * The process of the embedded ClickHouse server. It runs the library in a thread, and ends when its parent closes the other
 * ends of its standard input and of descriptor 3: so it also ends when the parent dies, even by SIGKILL.
 *
 * It confines itself before the server starts: no query reads or writes a file that is not the server's, such as the
 * passwords beside the data.
 *
 * clickhouse-process.ts starts it with one argument, a {@link HostOrder} as JSON. It writes one line to standard output, a
 * {@link HostReport} as JSON.
 */
import { rmdirSync, rmSync, writeSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { flushCompileCache } from 'node:module'
import { Socket } from 'node:net'
import { DataType, load, open } from 'ffi-rs'
import { type HostOrder, type HostReport, paths, prepareDataDir } from './clickhouse-files.ts'
import { confineThread } from './confinement.ts'
import { type FileLock, tryLock } from './file-lock.ts'

const LIFELINE = 3
/** How long the server may take for an orderly end (running queries, merges) after its parent died; then SIGKILL. */
const ORPHAN_GRACE_MS = 10_000
/** All files that this process makes are its account's alone. */
const PRIVATE_UMASK = 0o077
const START = 'SYSTEM START LISTEN HTTP; SELECT count() FROM table'
/**
 * What the server reads of the system: processors, memory, host names, time zone, and the time that its own threads took,
 * for each thread of a query. Beside that stands the environment, in which its parent has left no secrets.
 */
const SYSTEM_FILES = [
  '/dev/null',
  '/dev/urandom',
  '/etc/hosts',
  '/etc/localtime',
  '/etc/nsswitch.conf',
  '/etc/resolv.conf',
  '/proc/cpuinfo',
  '/proc/meminfo',
  '/proc/self/statm',
  '/proc/self/status',
  '/proc/self/task',
  '/proc/stat',
  '/proc/sys/vm',
  '/proc/uptime',
  '/sys/devices/system/cpu',
  '/sys/fs/cgroup',
  '/usr/share/zoneinfo',
]

const order = JSON.parse(process.argv[2] ?? '{}') as HostOrder
const files = paths(order.dataDir)
process.umask(PRIVATE_UMASK)
// The parent handles Ctrl-C and a closed terminal: it stops this process in order.
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})

const lock = prepare()
if (lock !== undefined) {
  const lifeline = watchLifeline()
  // Before the confinement: the loader reads the system's libraries.
  open({ library: 'chdb', path: order.library })
  report({ is: 'starting', unconfined: await confine() })
  process.exitCode = await serve()
  // A live parent removes it itself, after it has read the server's output.
  if (order.temporary && lifeline.destroyed) removeDataDir()
  process.exit()
}

/** Takes the lock and writes the server's files. @returns The lock; undefined if it has reported why not. */
function prepare(): FileLock | undefined {
  try {
    const taken = tryLock(files.lock)
    // Only under the lock: this removes a dead owner's endpoint, and only one process may make passwords.
    if (taken !== undefined) prepareDataDir(order)
    else report({ is: 'busy' })
    return taken
  } catch (error) {
    report({ is: 'unusable', why: error instanceof Error ? error.message : String(error) })
    return undefined
  }
}

function report(what: HostReport): void {
  writeSync(1, `${JSON.stringify(what)}\n`)
}

/**
 * Confines this thread, and with it the threads of Node's pool, one of which becomes the server: they start with the pool's
 * first work, the read below. Threads that had started earlier would not be confined, and the read would show it.
 * @returns Why the server can read every file of its account; undefined if it cannot.
 */
async function confine(): Promise<string | undefined> {
  // Node.js would write it at its end, which the confinement does not allow.
  flushCompileCache()
  const reason = confineThread({
    read: [files.config, files.users, ...SYSTEM_FILES],
    write: [files.data],
    remove: order.temporary ? [order.dataDir] : [],
  })
  if (reason !== undefined) return reason
  return readFile(files.passwords).then(
    () => 'threads that ran before can still read all files',
    () => undefined,
  )
}

/** Runs the server to its end. @returns The exit code. The library itself prints the error of a server that failed. */
async function serve(): Promise<number> {
  const args = [
    'clickhouse',
    `--config-file=${files.config}`,
    `--path=${files.data}`,
    '--input-format=LineAsString',
    '-q',
    START,
  ]
  const pointer = await load({
    library: 'chdb',
    funcName: 'chdb_query_cmdline',
    retType: DataType.I64,
    paramsType: [DataType.I32, DataType.StringArray],
    paramsValue: [args.length, args],
    runInNewThread: true,
  })
  // A statement that failed has no answer. Its result has no error either.
  const answerBytes = load({
    library: 'chdb',
    funcName: 'chdb_result_length',
    retType: DataType.U64,
    paramsType: [DataType.I64],
    paramsValue: [pointer],
  })
  return answerBytes > 0 ? 0 : 1
}

/** In two steps: in one, the directory above would be opened, which the confinement does not allow. */
function removeDataDir(): void {
  rmSync(files.home, { recursive: true, force: true })
  rmdirSync(order.dataDir)
}

/** The library ends by itself when standard input closes; this bounds how long that may take once the parent has died. */
function watchLifeline(): Socket {
  const lifeline = new Socket({ fd: LIFELINE })
  lifeline.on('error', () => {})
  lifeline.on('close', () => setTimeout(() => process.kill(process.pid, 'SIGKILL'), ORPHAN_GRACE_MS))
  lifeline.resume()
  return lifeline
}
