/**
 * The process between us and a program that does not watch its parent: it runs the program, and ends it when its own
 * standard input closes, which happens when our process closes it or dies, even by SIGKILL.
 *
 * Started by guarded-process.ts with one argument, a {@link GuardOrder} as JSON. Says the program's process id on
 * standard output. Its exit code is the program's.
 */
import { spawn } from 'node:child_process'
import { openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { GuardOrder } from './guarded-process.ts'

const order = JSON.parse(process.argv[2] ?? '{}') as GuardOrder
// Ours is another process group than the terminal's, but a signal may still be sent to it: the parent decides.
process.on('SIGINT', () => {})
process.on('SIGHUP', () => {})

const output = openSync(order.outputFile, 'w', 0o600)
const child = spawn(order.command, order.args, { stdio: ['ignore', output, output] })
child.once('error', (error) => {
  writeSync(output, `${error.message}\n`)
  process.exit(1)
})
child.once('exit', (code) => {
  if (ending && order.temporaryDir !== undefined) removeTemporary(order.temporaryDir)
  process.exit(code ?? 1)
})
if (child.pid !== undefined) writeSync(1, `${child.pid}\n`)

let ending = false
process.stdin.resume()
process.stdin.once('error', end)
process.stdin.once('close', end)

function end(): void {
  ending = true
  // A stopped process (SIGSTOP) hears SIGTERM only once it goes on.
  child.kill('SIGCONT')
  child.kill('SIGTERM')
  setTimeout(() => child.kill('SIGKILL'), order.graceMs)
}

/** The node's directory; the last node to go takes the cluster's along, where only small files of the parent are left. */
function removeTemporary(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
  const cluster = dirname(directory)
  try {
    const hasNodes = readdirSync(cluster, { withFileTypes: true }).some((entry) => entry.isDirectory())
    if (!hasNodes) rmSync(cluster, { recursive: true, force: true })
  } catch (error) {
    // Two last nodes at once: the other one was quicker.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
