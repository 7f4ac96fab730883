/**
 * An agent that records at an even rate, with the producer's default settings: the load of latency-benchmark.ts, which
 * starts it with one argument, a {@link LatencyLoad}. Prints `recording` before its first event.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type AuditSession, type AuditTrail, createAuditTrail } from '@agent-audit/producer'
import { SMALL_SESSIONS } from '../support/sessions.ts'

export interface LatencyLoad {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly spoolDir: string
  readonly eventsPerSecond: number
  readonly seconds: number
  /** Sessions that record in turns. @defaultValue 1 */
  readonly sessions?: number
}

const TICK_MS = 5

const load = JSON.parse(process.argv[2] ?? '{}') as LatencyLoad
const { brokers, topic, spoolDir } = load
const trail = createAuditTrail({ agentId: 'customer-service', modelId: 'gpt-4o-2024-11-20', brokers, topic, spoolDir })
process.stdout.write('recording\n')
await recordEvenly()
const { pending, refused } = await trail.close()
if (pending > 0 || refused > 0) throw new Error(`${pending} events not acknowledged, ${refused} refused`)

async function recordEvenly(): Promise<void> {
  const sessions = Array.from({ length: load.sessions ?? 1 }, (_, index) => recordOneByOne(trail, index))
  const total = load.eventsPerSecond * load.seconds
  const startedAt = performance.now()
  for (let recorded = 0; recorded < total;) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) / 1000) * load.eventsPerSecond))
    for (; recorded < due; recorded++) sessions[recorded % sessions.length]?.next()
    await sleep(TICK_MS)
  }
}

/** Each step records one event, session after session. */
function* recordOneByOne(into: AuditTrail, first: number): Generator<void, never, void> {
  for (let number = first; ; number++) {
    const script = SMALL_SESSIONS[number % SMALL_SESSIONS.length]
    if (script === undefined) throw new Error('no sessions to record')
    const session: AuditSession = into.startSession(script.start)
    yield
    for (const event of script.events) {
      session.record(event)
      yield
    }
    session.end()
    yield
  }
}
