/** A program of these tests in a separate process. It takes orders over IPC, and ends with this process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface ChildOptions {
  /** File in this folder. */
  readonly script: string
  readonly argument?: string
  /** Added to this process's environment, without its variables that name other servers or directories. */
  readonly environment?: Readonly<Record<string, string>>
  /** Module of this folder that is loaded first, in each of its threads. */
  readonly imported?: string
  /** The file to which its standard error is appended. */
  readonly logFile: string
}

const ELSEWHERE = /^(AUDIT|CLICKHOUSE|KAFKA|SCHEMA|HTTP|LOG)_/

export function startChild(options: ChildOptions): ChildProcess {
  const { script, argument, environment = {}, imported, logFile } = options
  const imports = imported === undefined ? [] : ['--import', new URL(imported, import.meta.url).href]
  const path = fileURLToPath(new URL(script, import.meta.url))
  const inherited = Object.entries(process.env).filter(([name]) => !ELSEWHERE.test(name))
  const log = openSync(logFile, 'a')
  try {
    return spawn(
      process.execPath,
      ['--conditions=agent-audit-source', ...imports, path, ...(argument ? [argument] : [])],
      {
        env: { ...Object.fromEntries(inherited), ...environment },
        // Its own process group: this process handles Ctrl-C in the terminal.
        detached: true,
        stdio: ['ignore', 'pipe', log, 'ipc'],
      },
    )
  } finally {
    closeSync(log)
  }
}

export function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

/** Sends a signal, and waits until the process has ended. */
export async function endChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (!isAlive(child)) return
  const exited = once(child, 'exit')
  child.kill(signal)
  await exited
}
