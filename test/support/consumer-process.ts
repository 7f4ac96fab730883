/** The consumer as `npm run consumer` starts it: a separate process whose environment holds all of its settings. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, vi } from 'vitest'

export interface ConsumerProcess {
  readonly pid: number
  readonly stdout: string
  readonly stderr: string
  /** Its exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>
  /** The URL of health and metrics; waits until the consumer prints it. */
  url(): Promise<string>
  kill(signal: NodeJS.Signals): Promise<number | NodeJS.Signals>
  /** Closes this end of its standard output, as a reader of its log does that ends. */
  closeStdout(): void
}

const MAIN = fileURLToPath(new URL('../../consumer/src/main.ts', import.meta.url))
/** Ends the process when the test's process ends: the channel between them closes. */
const LIFELINE = `data:text/javascript,process.once('disconnect',()=>process.exit(9));process.channel.unref()`
/** As `npm run consumer` has them. */
const NODE_OPTIONS = ['--max-semi-space-size=4', '--conditions=agent-audit-source']
const SETTINGS = /^(AUDIT|CLICKHOUSE|KAFKA|SCHEMA|HTTP|LOG)_/
const START_TIMEOUT_MS = 20_000

/**
 * Starts the consumer on a free port. The test's end kills it if it still runs.
 * @param imported - Modules that the process loads first.
 */
export function startConsumerProcess(environment: Record<string, string>, ...imported: URL[]): ConsumerProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !SETTINGS.test(name))
  const imports = [LIFELINE, ...imported.map(({ href }) => href)].flatMap((url) => ['--import', url])
  const child = spawn(process.execPath, [...NODE_OPTIONS, ...imports, MAIN], {
    env: { ...Object.fromEntries(inherited), HTTP_PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  // `close` comes after the end of its output, `exit` may come before.
  const exited = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals)
  const kill: ConsumerProcess['kill'] = (signal) => {
    child.kill(signal)
    return exited
  }
  onTestFinished(async () => void (await kill('SIGKILL')))
  return {
    pid: child.pid ?? 0,
    exited,
    kill,
    closeStdout: () => void child.stdout?.destroy(),
    get stdout() {
      return output.stdout
    },
    get stderr() {
      return output.stderr
    },
    url: () =>
      vi.waitFor(
        () => {
          const url = /"url":"(http:[^"]+)"/.exec(output.stdout)?.[1]
          expect(url, `the consumer has not started: ${output.stderr}`).toBeDefined()
          return url ?? ''
        },
        { timeout: START_TIMEOUT_MS, interval: 20 },
      ),
  }
}
