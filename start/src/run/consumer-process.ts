/** The real consumer, as its own process: configured by its environment alone, as in production. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { AuditUnavailableError } from '@agent-audit/schemas'

export interface ConsumerProcess {
  /** Aborted once it has ended. */
  readonly ended: AbortSignal
  /** @throws AuditUnavailableError `PART_UNAVAILABLE` if it has ended, with its last words. */
  check(): void
  /** Drains it (SIGTERM) and waits; by SIGKILL when that takes longer than its own limit. Idempotent. */
  stop(): Promise<void>
}

export interface ConsumerOptions {
  /** The consumer's settings; of our own environment's, only those that name no other place. */
  readonly settings: Readonly<Record<string, string>>
  /** Told what it warns of, in one line. */
  readonly onWarning: (message: string) => void
}

/** Above the consumer's own SHUTDOWN_TIMEOUT_MS, whose default is 10 s. */
const STOP_TIMEOUT_MS = 15_000
/** As `npm run consumer` has them. */
const NODE_OPTIONS = ['--max-semi-space-size=4', '--conditions=agent-audit-source']
/** Levels of pino. */
const WARN = 40
const ELSEWHERE = /^(AUDIT|CLICKHOUSE|KAFKA)_/

export function startConsumer({ settings, onWarning }: ConsumerOptions): ConsumerProcess {
  const extension = extname(import.meta.url)
  const main = fileURLToPath(new URL(`./main${extension}`, import.meta.resolve('@agent-audit/consumer')))
  const lifeline = new URL(`./consumer-lifeline${extension}`, import.meta.url).href
  const inherited = Object.entries(process.env).filter(([name]) => !ELSEWHERE.test(name))
  // Its own process group: Ctrl-C in the terminal reaches us only, and we stop our parts in order.
  const child = spawn(process.execPath, [...NODE_OPTIONS, '--import', lifeline, main], {
    detached: true,
    env: { ...Object.fromEntries(inherited), ...settings },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let lastWords = ''
  const say = (message: string): void => {
    lastWords = message
    onWarning(message)
  }
  readLog(child, say)
  const ended = new AbortController()
  child.once('exit', () => ended.abort())
  let stopping: Promise<void> | undefined
  return {
    ended: ended.signal,
    check() {
      if (isAlive(child)) return
      const how = child.signalCode ?? `exit code ${child.exitCode}`
      throw new AuditUnavailableError(
        'PART_UNAVAILABLE',
        `the consumer has ended (${how}): ${lastWords || 'without a word'}`,
      )
    },
    stop: () => (stopping ??= stop(child)),
  }
}

function readLog(child: ChildProcess, say: (message: string) => void): void {
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) return
  createInterface({ input: stdout }).on('line', (line) => {
    const { level, msg } = parseLogLine(line)
    if (level >= WARN) say(msg)
  })
  createInterface({ input: stderr }).on('line', say)
}

function parseLogLine(line: string): { level: number; msg: string } {
  try {
    return JSON.parse(line) as { level: number; msg: string }
  } catch {
    return { level: WARN, msg: line }
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (!isAlive(child)) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await exited
  clearTimeout(timer)
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}
