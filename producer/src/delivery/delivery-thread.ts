/** One run of delivery: in a worker thread, or in this thread where there are no workers. The messages are the same. */
import { existsSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { Delivery } from './delivery.ts'
import type { Report, ThreadSettings, ToDelivery } from './protocol.ts'

export interface ThreadHooks {
  onReport(report: Report): void
  /** It has ended without being closed, and its locks are free. Never called from within a call of this thread. */
  onFailed(error: unknown): void
}

/** What is posted to a thread that has failed is lost. */
export interface DeliveryThread {
  /** Transfers the chunk's memory: this thread must not read it afterwards (docs/memory.md). */
  post(message: ToDelivery): void
  /** Whether the process stays alive for delivery's reports. */
  hold(alive: boolean): void
  /**
   * Blocks this thread until all chunks posted are settled; the time that a worker takes to start does not count. For the end
   * of the process only. @returns false on timeout.
   */
  waitSettled(timeoutMs: number): boolean
  /** Ends the thread after the last report. */
  release(): void
}

/**
 * Three semi-spaces of 4 MB: in smaller ones V8 promotes the objects of a send to the old generation, where they stay long.
 * Without a limit V8 lets this thread's garbage grow to 128 MB under load, and saves no CPU by it.
 */
const YOUNG_GENERATION_MB = 12
const RELEASE_TIMEOUT_MS = 10_000
/** On a busy machine a thread may take seconds to start: that says nothing about the disk. */
const START_TIMEOUT_MS = 10_000

/**
 * The worker's entry beside this file, or beside the bundle that this file is part of, with the same extension: .ts in the
 * sources, .js in the package, .mjs or .cjs of a bundle. The name is long because an agent's bundle may have a worker.js of
 * its own beside it. A bundler that writes CommonJS leaves `import.meta` empty.
 */
function workerEntry(): string {
  const { url } = import.meta as { url?: string }
  const self = url === undefined ? __filename : fileURLToPath(url)
  return join(dirname(self), `agent-audit-delivery${extname(self)}`)
}

/** Starts delivery. Falls back to this thread where workers are forbidden, or where a bundler has left out the entry file. */
export function startThread(of: Omit<ThreadSettings, 'settled'>, hooks: ThreadHooks): DeliveryThread {
  const settings = { ...of, settled: newCounter() }
  try {
    const entry = workerEntry()
    if (existsSync(entry)) return startWorker(entry, settings, hooks)
  } catch {
    // ERR_ACCESS_DENIED of the permission model, a host without threads, or code that came from no file.
  }
  return startInline(settings, hooks)
}

function startWorker(entry: string, settings: ThreadSettings, hooks: ThreadHooks): DeliveryThread {
  const started = newCounter()
  const worker = new Worker(entry, {
    name: 'agent-audit-delivery',
    workerData: { settings, started },
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
  })
  let released = false
  let thrown: { readonly error: unknown } | undefined
  let posted = 0
  worker.on('message', (report: Report) => {
    // The last report of a thread that has already ended arrives right before its exit event, without a turn between them
    // in which the recorder could call `release`.
    released ||= report.closed
    hooks.onReport(report)
  })
  worker.on('error', (error) => {
    thrown = { error }
  })
  // Only at its exit has the thread closed its files, so that SQLite's locks are free, and are all of its reports read.
  worker.on('exit', (code) => {
    const { error } = thrown ?? { error: new Error(`the delivery thread ended with exit code ${code}`) }
    if (!released) hooks.onFailed(error)
  })
  worker.unref()
  return {
    post(message) {
      if (message.type === 'chunk') posted++
      const memory = message.type === 'chunk' ? [message.chunk.bytes.buffer, message.chunk.ends.buffer] : []
      worker.postMessage(message, memory)
    },
    hold: (alive) => (alive ? worker.ref() : worker.unref()),
    waitSettled(timeoutMs) {
      Atomics.wait(started, 0, 0, START_TIMEOUT_MS) // Returns at once if it has started.
      const deadline = performance.now() + timeoutMs
      for (;;) {
        const count = Atomics.load(settings.settled, 0)
        const left = deadline - performance.now()
        if (count >= posted || left <= 0) return count >= posted
        Atomics.wait(settings.settled, 0, count, left)
      }
    },
    release() {
      released = true
      // The thread ends by itself after its last report. `terminate` could stop it anywhere, even inside a call into SQLite:
      // only for a thread that hangs.
      const hanging = setTimeout(() => void worker.terminate(), RELEASE_TIMEOUT_MS).unref()
      worker.once('exit', () => clearTimeout(hanging))
    },
  }
}

const KEEP_ALIVE_MS = 60_000

/** An error of delivery here must reach neither the agent's call nor its process: it is met as the end of a thread is. */
function startInline(settings: ThreadSettings, hooks: ThreadHooks): DeliveryThread {
  let keepAlive: NodeJS.Timeout | undefined
  let posted = 0
  const delivery = new Delivery(settings, {
    post: (report) => hooks.onReport(report),
    fail(error) {
      clearInterval(keepAlive)
      delivery.abandon()
      setImmediate(() => hooks.onFailed(error))
    },
  })
  delivery.start()
  return {
    post(message) {
      if (message.type === 'chunk') posted++
      delivery.handle(message)
    },
    hold(alive) {
      clearInterval(keepAlive)
      keepAlive = alive ? setInterval(() => {}, KEEP_ALIVE_MS) : undefined
    },
    // The spool commits within `post`; nothing else can happen while this thread is blocked.
    waitSettled: () => Atomics.load(settings.settled, 0) >= posted,
    release: () => {},
  }
}

function newCounter(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
}
