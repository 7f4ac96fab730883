/**
 * Records at full speed, first with its broker and then while the broker is down. Prints `up <figures>` once the events
 * recorded with the broker are acknowledged, `down <figures>` once all others are recorded without it, and
 * `drained <figures>` once these are acknowledged too. After `up` it waits for a line on standard input; after `down` it
 * goes on at once.
 */
import { once } from 'node:events'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { createAuditTrail } from '@agent-audit/producer'
import type { OutageOrder, PhaseFigures } from './outage.ts'

const SESSIONS = 64
/** Calls in one turn of the event loop. */
const TURN = 500
const SAMPLE_MS = 20
const IDLE_MS = 500
const TEXT =
  'The customer asks for a refund of an order that has not arrived; the carrier says it was left with a neighbour. '

const { brokers, topic, spoolDir, warmUp, before, events } = JSON.parse(process.argv[2] ?? '') as OutageOrder
const trail = createAuditTrail({
  agentId: 'outage',
  brokers,
  topic,
  spoolDir,
  spoolMaxBytes: 8 * 2 ** 30,
  onProblem: () => {},
})
/** Made beforehand: V8 caches the texts of numbers, and its cache would count as memory of the producer. */
const TEXTS = Array.from({ length: SESSIONS }, (_, index) => `${TEXT}${index}`)
const sessions = Array.from({ length: SESSIONS }, (_, index) => trail.startSession({ session_id: `s${index}` }))

let peak = 0
setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), SAMPLE_MS).unref()

function figures(begun: number, cpu: NodeJS.CpuUsage, count: number): PhaseFigures {
  const { user, system } = process.threadCpuUsage(cpu)
  return {
    seconds: (performance.now() - begun) / 1000,
    callerUs: (user + system) / count,
    peakMb: peak / 2 ** 20,
    stats: trail.stats(),
  }
}

/** Records `count` events; new work waits for room by `writable`. */
async function record(count: number): Promise<PhaseFigures> {
  peak = 0
  const [begun, cpu] = [performance.now(), process.threadCpuUsage()]
  for (let number = 0; number < count; number++) {
    sessions[number % SESSIONS]?.decision({ reasoning: TEXTS[number % SESSIONS] ?? TEXT })
    if (number % TURN !== 0) continue
    await nextTurn()
    await trail.writable()
  }
  return figures(begun, cpu, count)
}

function say(word: string, value: PhaseFigures & { idleMb?: number }): void {
  process.stdout.write(`${word} ${JSON.stringify(value)}\n`)
}

// The parent has ended: no process waits for the other figures.
process.stdin.once('end', () => process.exit(1))
// Idle as for a user: after a moment of use, with all events acknowledged.
await record(warmUp)
await trail.flush()
await sleep(IDLE_MS)
const idleMb = process.memoryUsage.rss() / 2 ** 20
const up = await record(before)
await trail.flush()
const peakMb = peak / 2 ** 20
const goOn = once(process.stdin, 'data')
say('up', { ...up, peakMb, idleMb })
await goOn
say('down', await record(events))
peak = 0
const [begun, cpu] = [performance.now(), process.threadCpuUsage()]
await trail.flush()
say('drained', figures(begun, cpu, events))
await trail.close()
process.exit(0)
