/** The `agent-audit` process. */
import { once } from 'node:events'
import { inspect } from 'node:util'
import { EXIT } from './terminal.ts'

process.on('uncaughtException', (error) => {
  // Node.js would end with 1, which says that the command found something.
  process.stderr.write(`${inspect(error)}\n`)
  process.exit(EXIT.notCompleted)
})

// The kernel spares the first process of a container the default action of a signal: without a handler it would run on.
if (process.pid === 1) {
  process.once('SIGTERM', () => process.exit(143))
  process.once('SIGINT', () => process.exit(130))
}

// A reader such as `agent-audit trail S | head` closes the pipe early: that is no error, and further output has no reader.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT.done)
    // Not the code of a verdict that the reader of the output did not get.
    if (stream !== process.stderr) process.stderr.write(`agent-audit: cannot write the output: ${error.message}\n`)
    process.exit(EXIT.notCompleted)
  })
}

// Loaded only now: an installation that misses a package must not end with 1 either.
const { runCli } = await import('./cli.ts')
process.exitCode = await runCli(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
  drained: async () => {
    if (process.stdout.writableNeedDrain) await once(process.stdout, 'drain')
  },
  interrupted: () => {
    const interrupt = new AbortController()
    // A second one ends the process at once.
    for (const signal of ['SIGINT', 'SIGTERM']) process.removeAllListeners(signal).once(signal, () => interrupt.abort())
    return interrupt.signal
  },
  exitCode: (code) => (process.exitCode = code),
  ...(process.stderr.isTTY ? { progress: (line: string) => void process.stderr.write(`\r\u001B[K${line}`) } : {}),
  colors: process.stdout.isTTY && process.stdout.hasColors() && (process.env['NO_COLOR'] ?? '') === '',
})
