/**
 * Records at full speed before and while its broker is down. Says `up <figures>` once what it recorded with a broker is
 * acknowledged, `down <figures>` once all is recorded without one, and `drained <figures>` once that is acknowledged too;
 * goes on from `up` when it is sent a line, and from `down` at once.
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
/** Made beforehand: a number's text stays in V8's cache of them, and would count as memory of ours. */
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

/** Records `count` events; new work waits for room, as `writable` is for. */
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

// The parent has ended: no process waits for the rest.
process.stdin.once('end', () => process.exit(1))
// Idle as a user would find it: after a moment of use, with all events acknowledged.
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
