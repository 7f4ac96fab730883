/** The real consumer in a separate process, configured by its environment alone, as in production. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { AuditUnavailableError } from '@agent-audit/schemas'

export interface ConsumerProcess {
  /** Aborted once the consumer has ended. */
  readonly ended: AbortSignal
  /** @throws AuditUnavailableError `PART_UNAVAILABLE` if it has ended, with its last message. */
  check(): void
  /** Drains it (SIGTERM) and waits; after 15 s SIGKILL. Idempotent. */
  stop(): Promise<void>
}

export interface ConsumerOptions {
  /** The consumer's settings. It inherits this environment without AUDIT_*, CLICKHOUSE_* and KAFKA_*. */
  readonly settings: Readonly<Record<string, string>>
  /** Called with each warning of the consumer, one line. */
  readonly onWarning: (message: string) => void
}

/** Above the consumer's SHUTDOWN_TIMEOUT_MS, whose default is 10 s. */
const STOP_TIMEOUT_MS = 15_000
/** The flags of `npm run consumer`. */
const NODE_OPTIONS = ['--max-semi-space-size=4', '--conditions=agent-audit-source']
/** Levels of pino. */
const WARN = 40
const NOT_INHERITED = /^(AUDIT|CLICKHOUSE|KAFKA)_/

export function startConsumer({ settings, onWarning }: ConsumerOptions): ConsumerProcess {
  const extension = extname(import.meta.url)
  const main = fileURLToPath(new URL(`./main${extension}`, import.meta.resolve('@agent-audit/consumer')))
  const lifeline = new URL(`./consumer-lifeline${extension}`, import.meta.url).href
  const inherited = Object.entries(process.env).filter(([name]) => !NOT_INHERITED.test(name))
  // A separate process group: Ctrl-C in the terminal reaches this process only, which stops its parts in order.
  const child = spawn(process.execPath, [...NODE_OPTIONS, '--import', lifeline, main], {
    detached: true,
    env: { ...Object.fromEntries(inherited), ...settings },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let lastMessage = ''
  const say = (message: string): void => {
    lastMessage = message
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
        `the consumer has ended (${how}): ${lastMessage || 'without a message'}`,
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
