/**
 * The consumer's process: `npm run consumer`, configured by the environment (settings.ts). On SIGTERM and SIGINT it drains:
 * it writes its fetched records, leaves its partitions clean, and leaves the group. Exit codes: 0 drained, 1 an error
 * that an operator must look at, 3 a crash, 64 wrong settings.
 */
import { inspect } from 'node:util'
import { InvalidInputError, TrailError } from '@agent-audit/schemas'
import { type Logger, pino } from 'pino'
import { type Consumer, createConsumer } from './consumer.ts'
import { type HttpServer, serveHttp } from './http.ts'
import { readSettings, type Settings } from './settings.ts'

const EXIT = { drained: 0, stopped: 1, crashed: 3, wrongSettings: 64 } as const

process.on('uncaughtException', (error) => {
  process.stderr.write(`${inspect(error)}\n`)
  process.exit(EXIT.crashed)
})

// A kafkajs client that could not be closed in order may have left a timer or a socket behind.
process.exit(await main())

async function main(): Promise<number> {
  try {
    const settings = readSettings(process.env)
    const log = pino({ name: 'agent-audit-consumer', level: settings.LOG_LEVEL }, standardOutput())
    const consumer = createConsumer(settings, log)
    const http = await serveHttp(consumer, settings.HTTP_HOST, settings.HTTP_PORT)
    return await run({ settings, log, consumer, http })
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error
    process.stderr.write(`${error.message}\n`)
    return EXIT.wrongSettings
  }
}

/**
 * Standard output as a stream of Node.js: lines whose reader has gone are dropped. pino's own output would write such a line
 * again and again when the process exits, and the process would never end.
 */
function standardOutput(): NodeJS.WriteStream {
  process.stdout.on('error', () => {})
  return process.stdout
}

interface Started {
  readonly settings: Settings
  readonly log: Logger
  readonly consumer: Consumer
  readonly http: HttpServer
}

async function run({ settings, log, consumer, http }: Started): Promise<number> {
  const drain = drainOnSignal(log, settings.SHUTDOWN_TIMEOUT_MS)
  log.info({ url: http.url, topics: settings.AUDIT_TOPICS, group: settings.AUDIT_GROUP_ID }, 'started')
  try {
    await consumer.run(drain)
    log.info('drained')
    return EXIT.drained
  } catch (error) {
    if (!(error instanceof TrailError)) throw error
    log.fatal({ code: error.code }, error.message)
    return EXIT.stopped
  } finally {
    http.close()
  }
}

function drainOnSignal(log: Logger, timeoutMs: number): AbortSignal {
  const drain = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => {
    if (drain.signal.aborted) return
    log.info({ signal }, 'draining')
    drain.abort()
    // A partition that is not drained by then is left "busy": its next owner waits out the lease.
    setTimeout(() => {
      log.error({ timeoutMs }, 'not drained in time: exiting')
      process.exit(EXIT.stopped)
    }, timeoutMs).unref()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return drain.signal
}
