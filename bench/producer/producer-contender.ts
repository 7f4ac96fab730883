/**
 * One way to record events, in its own process. producer-benchmark.ts starts it with one argument, a {@link ContenderOrder};
 * it prints its measurements as JSON.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RecorderOrder } from './recorders/recorder.ts'
import { type RecorderName, RECORDERS } from './recorders/recorders.ts'
import { makeSessions, type SessionScript, SMALL_SESSIONS } from '../support/sessions.ts'
import { readSizeMix } from '../support/size-mix.ts'

export interface ContenderOrder extends RecorderOrder {
  readonly contender: RecorderName
  readonly size: string
  readonly events: number
  /** Records at this rate and measures how long the event loop was blocked; undefined: at full speed, and measures the cost. */
  readonly eventsPerSecond?: number | undefined
}

/** Cost of the events. CPU is user and system time, microseconds. */
export interface CostReport {
  readonly events: number
  /** Bytes of all recorded values. */
  readonly bytes: number
  readonly ms: number
  /** CPU of the recording thread while it recorded and waited. */
  readonly threadCpuUs: number
  /** CPU of the same thread over an equal period without recording. */
  readonly idleThreadCpuUs: number
  readonly processCpuUs: number
  readonly idleProcessCpuUs: number
  readonly peakRssBytes: number
}

/** How long the event loop was blocked at a stretch, milliseconds. */
export interface StallReport {
  readonly events: number
  readonly longestMs: number
  /** 999 of 1000 stretches were at most as long. */
  readonly p999Ms: number
}

const BARE_RECORD_BYTES = 290
const WARM_UP = 0.1
const TICK_MS = 5

const order = JSON.parse(process.argv[2] ?? '{}') as ContenderOrder
const scripts = scriptsOf(order.size)
const recorder = await RECORDERS[order.contender](order)
const { eventsPerSecond } = order
await record(Math.ceil(order.events * WARM_UP), eventsPerSecond)
const report = eventsPerSecond === undefined ? await measureCost() : await measureStalls(eventsPerSecond)
await recorder.close()
process.stdout.write(`${JSON.stringify(report)}\n`)

function scriptsOf(size: string): readonly SessionScript[] {
  if (size === 'real size mix') return readSizeMix(process.env['AUDIT_SESSIONS_FILE']).sessions
  const kib = Number(/^(\d+) KB$/.exec(size)?.[1] ?? 0)
  return kib === 0 ? SMALL_SESSIONS : makeSessions(40, () => kib * 1024 - BARE_RECORD_BYTES, 17)
}

async function measureCost(): Promise<CostReport> {
  const before = usage()
  const { events, bytes } = await record(order.events)
  const after = usage()
  await sleep(after.at - before.at)
  const idle = usage()
  return {
    events,
    bytes,
    ms: after.at - before.at,
    threadCpuUs: after.thread - before.thread,
    idleThreadCpuUs: idle.thread - after.thread,
    processCpuUs: after.process - before.process,
    idleProcessCpuUs: idle.process - after.process,
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  }
}

function usage(): { at: number; thread: number; process: number } {
  const [thread, whole] = [process.threadCpuUsage(), process.cpuUsage()]
  return { at: performance.now(), thread: thread.user + thread.system, process: whole.user + whole.system }
}

async function measureStalls(rate: number): Promise<StallReport> {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  const { events } = await record(order.events, rate)
  delays.disable()
  return { events, longestMs: delays.max / 1e6, p999Ms: delays.percentile(99.9) / 1e6 }
}

/** Records at least this many events: the last session is recorded to its end. @param rate - Most events a second. */
async function record(least: number, rate = Infinity): Promise<{ events: number; bytes: number }> {
  const total = { events: 0, bytes: 0 }
  const startedAt = performance.now()
  for (let number = 0; total.events < least; number++) {
    const script = scripts[number % scripts.length]
    if (script === undefined) throw new Error('no sessions to record')
    while (total.events >= ((performance.now() - startedAt) / 1000) * rate) await sleep(TICK_MS)
    const { events, bytes } = await recorder.play(script)
    total.events += events
    total.bytes += bytes
  }
  await recorder.flush()
  return total
}
