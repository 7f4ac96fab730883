/** Where delivery runs: a worker thread, or this one where there are no workers. The same messages either way. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { Delivery } from './delivery.ts'
import type { DeliverySettings, Report, ToDelivery } from './protocol.ts'

export interface DeliveryHooks {
  onReport(report: Report): void
  /** Delivery is gone without having been closed. */
  onLost(error: unknown): void
}

export interface DeliveryPort {
  /** The chunk's memory is gone from this thread afterwards. */
  post(message: ToDelivery): void
  /** Whether the process stays alive for what delivery will answer. */
  hold(alive: boolean): void
  /**
   * Blocks this thread until `chunks` are settled; what a worker needs to start is not counted. For the end of the process
   * only. @returns false when time is up.
   */
  waitSettled(chunks: number, timeoutMs: number): boolean
  /** Frees what is left after the last report. */
  release(): void
}

// In the sources .ts, which Node runs as it is; in the package .js.
const ENTRY = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

/** Three semi-spaces of 4 MB: in smaller ones what is being sent is taken for old, and stays long. Left to itself V8 lets this thread's garbage grow to 128 MB under load, and saves no CPU by it. */
const YOUNG_GENERATION_MB = 12
const RELEASE_TIMEOUT_MS = 10_000
/** A thread may take seconds to start, on a machine that has other things to do: that is no answer of a disk. */
const START_TIMEOUT_MS = 10_000

/** Starts delivery. Falls back to this thread where workers are forbidden, or bundling has left the entry file behind. */
export function startDelivery(settings: DeliverySettings, hooks: DeliveryHooks): DeliveryPort {
  const settled = new Int32Array(settings.settled)
  try {
    if (existsSync(fileURLToPath(ENTRY))) return startWorker(settings, settled, hooks)
  } catch {
    // ERR_ACCESS_DENIED of the permission model, or a host without threads.
  }
  return startInline(settings, settled, hooks)
}

function startWorker(settings: DeliverySettings, settled: Int32Array, hooks: DeliveryHooks): DeliveryPort {
  const started = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  const worker = new Worker(ENTRY, {
    name: 'agent-audit-delivery',
    workerData: { settings, started },
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
  })
  let released = false
  worker.on('message', (report: Report) => {
    // A thread that has ended already gives its last report right before its exit, without a turn in which anybody could
    // call `release`.
    released ||= report.closed
    hooks.onReport(report)
  })
  worker.on('error', (error) => {
    released = true
    hooks.onLost(error)
  })
  worker.on('exit', (code) => {
    if (!released) hooks.onLost(new Error(`the delivery thread ended with exit code ${code}`))
    released = true
  })
  worker.unref()
  return {
    post(message) {
      const memory = message.type === 'chunk' ? [message.chunk.bytes.buffer, message.chunk.ends.buffer] : []
      worker.postMessage(message, memory)
    },
    hold: (alive) => (alive ? worker.ref() : worker.unref()),
    waitSettled(chunks, timeoutMs) {
      Atomics.wait(started, 0, 0, START_TIMEOUT_MS) // Over at once when it has.
      const deadline = performance.now() + timeoutMs
      for (;;) {
        const count = Atomics.load(settled, 0)
        const left = deadline - performance.now()
        if (count >= chunks || left <= 0) return count >= chunks
        Atomics.wait(settled, 0, count, left)
      }
    },
    release() {
      released = true
      // It ends by itself after its last report. Ending it from here would be done at any point of what it is doing,
      // inside a call into SQLite too: only for a thread that something holds up.
      const held = setTimeout(() => void worker.terminate(), RELEASE_TIMEOUT_MS).unref()
      worker.once('exit', () => clearTimeout(held))
    },
  }
}

const KEEP_ALIVE_MS = 60_000

function startInline(settings: DeliverySettings, settled: Int32Array, hooks: DeliveryHooks): DeliveryPort {
  const delivery = new Delivery(settings, (report) => hooks.onReport(report))
  let alive: NodeJS.Timeout | undefined
  return {
    post: (message) => delivery.handle(message),
    hold(held) {
      clearInterval(alive)
      alive = held ? setInterval(() => {}, KEEP_ALIVE_MS) : undefined
    },
    // The spool commits within `post`; nothing else can happen while this thread waits.
    waitSettled: (chunks) => Atomics.load(settled, 0) >= chunks,
    release: () => {},
  }
}
