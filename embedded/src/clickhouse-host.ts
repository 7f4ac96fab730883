/**
 * The process of the embedded ClickHouse server. It runs the library in a thread, and ends when its parent closes the other
 * ends of its standard input and of descriptor 3: so it also ends when the parent dies, even by SIGKILL.
 *
 * clickhouse-process.ts starts it with one argument, a {@link HostOrder} as JSON. It writes one word to standard output:
 * `busy` (another process holds the data directory; it exits) or `locked` (it holds the directory, and configures it next).
 */
import { rmSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { DataType, load, open } from 'ffi-rs'
import { type HostOrder, paths, prepareDataDir } from './clickhouse-files.ts'
import { tryLock } from './file-lock.ts'

const LIFELINE = 3
/** How long the server may take for an orderly end (running queries, merges) after its parent died; then SIGKILL. */
const ORPHAN_GRACE_MS = 10_000
const START = 'SYSTEM START LISTEN HTTP; SELECT count() FROM table'

const order = JSON.parse(process.argv[2] ?? '{}') as HostOrder
const files = paths(order.dataDir)
// The parent handles Ctrl-C and a closed terminal: it stops this process in order.
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})

const lock = tryLock(files.lock)
if (lock === undefined) {
  writeSync(1, 'busy\n')
} else {
  // Only under the lock: this removes a dead owner's endpoint, and only one process may make passwords.
  prepareDataDir(order)
  writeSync(1, 'locked\n')
  const lifeline = watchLifeline()
  process.exitCode = await serve()
  // A live parent removes it itself, after it has read the server's output.
  if (order.temporary && lifeline.destroyed) rmSync(order.dataDir, { recursive: true, force: true })
  process.exit()
}

function serve(): Promise<number> {
  open({ library: 'chdb', path: order.library })
  const args = [
    'clickhouse',
    `--config-file=${files.config}`,
    `--path=${files.data}`,
    '--input-format=LineAsString',
    '-q',
    START,
  ]
  return load({
    library: 'chdb',
    funcName: 'chdb_query_cmdline',
    retType: DataType.I32,
    paramsType: [DataType.I32, DataType.StringArray],
    paramsValue: [args.length, args],
    runInNewThread: true,
  })
}

/** The library ends by itself when standard input closes; this bounds how long that may take once the parent has died. */
function watchLifeline(): Socket {
  const lifeline = new Socket({ fd: LIFELINE })
  lifeline.on('error', () => {})
  lifeline.on('close', () => setTimeout(() => process.kill(process.pid, 'SIGKILL'), ORPHAN_GRACE_MS))
  lifeline.resume()
  return lifeline
}
