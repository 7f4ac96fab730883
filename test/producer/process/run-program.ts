/** Starts the programs of these tests, each in its own process: the commands of child.ts, and the applications in apps/. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type Child, startPrinting } from '../../support/printing-program.ts'

const PROGRAM = fileURLToPath(new URL('child.ts', import.meta.url))
/** Options of Node that forbid worker threads. */
const NO_WORKERS = ['--permission', '--allow-fs-read=*', '--allow-fs-write=*']

/** Runs a command of child.ts. */
export function startChild(...args: readonly string[]): Child {
  return startNode([PROGRAM, ...args])
}

/** The same; each thread of the process first loads the module. */
export function startChildWith(preload: { module: URL; workers?: boolean }, ...args: readonly string[]): Child {
  const load = ['--import', preload.module.href]
  return startNode([...load, ...(preload.workers === false ? NO_WORKERS : []), PROGRAM, ...args])
}

/** The same; Node forbids worker threads. */
export function startChildWithoutWorkers(...args: readonly string[]): Child {
  return startNode([...NO_WORKERS, PROGRAM, ...args])
}

/** Why a child cannot get its own disk here; undefined if it can. */
export const NO_OWN_DISK: string | undefined =
  spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
    ? undefined
    : '(skipped: needs unshare and user namespaces, to mount a small disk)'

/** The same; a disk is mounted on the directory that only this process sees, and that ends with it. */
export function startChildOnDisk(disk: { directory: string; options: string }, ...args: readonly string[]): Child {
  const mount = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
  const before = ['unshare', '-rm', 'sh', '-c', mount, 'sh', disk.options, disk.directory]
  return startNode([PROGRAM, ...args, disk.directory], before)
}

/** Runs an application in apps/. */
export function startApp(file: string, ...args: readonly string[]): Child {
  return startNode([fileURLToPath(new URL(`apps/${file}`, import.meta.url)), ...args])
}

function startNode(args: readonly string[], before: readonly string[] = []): Child {
  const [file = '', ...command] = [...before, process.execPath, '--conditions=agent-audit-source', ...args]
  return startPrinting(file, command)
}
