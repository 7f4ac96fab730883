/**
 * A process between us and a program that does not watch its parent. It runs the program, and ends it when its own
 * standard input closes: our process closes it, or dies, even by SIGKILL.
 *
 * supervised-process.ts starts it with one argument, a {@link ProgramOrder} as JSON. It writes the program's process id to
 * standard output. Its exit code is the program's.
 */
import { spawn } from 'node:child_process'
import { openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { ProgramOrder } from './supervised-process.ts'

const order = JSON.parse(process.argv[2] ?? '{}') as ProgramOrder
// The terminal signals another process group, but a signal may still be sent to this one: the parent decides.
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
  // A paused process (SIGSTOP) receives SIGTERM only once it is resumed.
  child.kill('SIGCONT')
  child.kill('SIGTERM')
  setTimeout(() => child.kill('SIGKILL'), order.graceMs)
}

/** Removes the node's directory. The last node also removes the cluster's, which then holds small files of the parent only. */
function removeTemporary(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
  const cluster = dirname(directory)
  try {
    const hasNodes = readdirSync(cluster, { withFileTypes: true }).some((entry) => entry.isDirectory())
    if (!hasNodes) rmSync(cluster, { recursive: true, force: true })
  } catch (error) {
    // Two last nodes ended at once, and the other watch was quicker.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}
