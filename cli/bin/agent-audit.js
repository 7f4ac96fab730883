#!/usr/bin/env node
// Plain JavaScript, so that it runs before anything is built: from source inside the repository, from dist when published.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The exit code of a command that could not complete (src/terminal.ts). */
const NOT_COMPLETED = 3

const [major, minor] = process.versions.node.split('.').map(Number)
const source = fileURLToPath(new URL('../src/main.ts', import.meta.url))

if (major < 22 || (major === 22 && minor < 15)) {
  process.stderr.write(
    `agent-audit: needs Node.js 22.15 or newer, this is ${process.versions.node}; inside the repository run it as: npx agent-audit\n`,
  )
  process.exitCode = NOT_COMPLETED
} else if (existsSync(source)) {
  run(['--conditions=agent-audit-source', source])
} else {
  run([fileURLToPath(new URL('../dist/main.js', import.meta.url))])
}

function run(script) {
  // Most of what a command reads is garbage at once: a young generation of the default size lets it grow to 100 MB more.
  const child = spawn(process.execPath, ['--max-semi-space-size=4', ...script, ...process.argv.slice(2)], {
    stdio: 'inherit',
  })
  // The terminal signals the whole group on Ctrl-C, the child included; other signals are passed on to the child.
  process.on('SIGINT', () => {})
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    process.stderr.write(`agent-audit: cannot start ${process.execPath}: ${error.message}\n`)
    process.exitCode = NOT_COMPLETED
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exitCode = code ?? NOT_COMPLETED
    else endBy(signal)
  })
}

/** Ends by the same signal as the child, so that a shell sees it. */
function endBy(signal) {
  process.removeAllListeners(signal)
  process.kill(process.pid, signal)
}
