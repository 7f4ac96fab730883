/**
 * The process that is the embedded ClickHouse server. It runs the library in a thread and lives as long as its parent
 * holds the other ends of its standard input and of descriptor 3, so a parent that dies, even by SIGKILL, takes it along.
 *
 * Started by clickhouse-embedded.ts with one argument, a {@link HostOrder} as JSON. It says one word on standard output:
 * `busy` (another process holds the data directory; it exits) or `locked` (the directory is ours, configuration follows).
 */
import { rmSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { DataType, load, open } from 'ffi-rs'
import { type HostOrder, paths, prepareDataDir } from './clickhouse-files.ts'
import { tryLock } from './file-lock.ts'

const LIFELINE = 3
/** How long an orphaned server may take for an orderly end (running queries, merges) before it is cut short. */
const ORPHAN_GRACE_MS = 10_000
const START = 'SYSTEM START LISTEN HTTP; SELECT count() FROM table'

const order = JSON.parse(process.argv[2] ?? '{}') as HostOrder
const files = paths(order.dataDir)
// Ctrl-C and a stop of the terminal are the parent's to handle: it stops this process in order.
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})

const lock = tryLock(files.lock)
if (lock === undefined) {
  writeSync(1, 'busy\n')
} else {
  // Only under the lock: the endpoint left by a dead owner goes, and passwords are made by one process only.
  prepareDataDir(order)
  writeSync(1, 'locked\n')
  const lifeline = watchLifeline()
  process.exitCode = await serve()
  // A parent that lives removes it itself, after it has read what the server said.
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

/** The library ends by itself when standard input does; this bounds how long that may take once the parent is gone. */
function watchLifeline(): Socket {
  const lifeline = new Socket({ fd: LIFELINE })
  lifeline.on('error', () => {})
  lifeline.on('close', () => setTimeout(() => process.kill(process.pid, 'SIGKILL'), ORPHAN_GRACE_MS))
  lifeline.resume()
  return lifeline
}
