/**
 * One way to get events into Kafka, in a process of its own: records events until all are acknowledged, then is idle for
 * as long, and prints what both took. Started by producer-benchmark.ts with one argument, a {@link ContenderOrder}.
 */
import { randomUUID } from 'node:crypto'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { createAuditTrail } from '@agent-audit/producer'
import type { Message } from 'kafkajs'
import { connectKafka, ZSTD } from './kafka.ts'
import { makeSessions, type SessionScript } from './sessions.ts'
import { readSizeMix } from './size-mix.ts'

export type ProducerContender =
  | 'ours, durability disk'
  | 'ours, durability broker'
  | 'kafkajs, 1000 a send'
  | 'kafkajs, a send each, not awaited'
  | 'kafkajs, a send each, awaited'

export interface ContenderOrder {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly spoolDir: string
  readonly size: string
  readonly contender: ProducerContender
  readonly events: number
}

/** CPU is user and system time, microseconds. */
export interface ContenderReport {
  readonly events: number
  /** Of all values recorded. */
  readonly bytes: number
  readonly ms: number
  /** Of the recording thread, while it recorded and waited. */
  readonly threadCpuUs: number
  /** The same for as long a time in which nothing is recorded. */
  readonly idleThreadCpuUs: number
  readonly processCpuUs: number
  readonly idleProcessCpuUs: number
  readonly peakRssBytes: number
}

/** Something that records. */
interface Recorder {
  /** Records one session; resolves when it takes the next. @returns How many events, and the bytes of their values. */
  play(script: SessionScript): Promise<{ events: number; bytes: number }>
  /** Resolves when all is acknowledged. @throws Error if something was refused. */
  flush(): Promise<void>
  close(): Promise<unknown>
}

const SMALL_TEXT_BYTES = 12
const BARE_RECORD_BYTES = 290
const BATCH_EVENTS = 1000
const WARM_UP = 0.1
const PROMPT_SHA256 = '7c'.repeat(32)

const order = JSON.parse(process.argv[2] ?? '{}') as ContenderOrder
const scripts = scriptsOf(order.size)
const recorder = order.contender.startsWith('ours') ? openTrail() : await openKafkajs()
await record(Math.ceil(order.events * WARM_UP))
const report = await measure()
await recorder.close()
process.stdout.write(`${JSON.stringify(report)}\n`)

function scriptsOf(size: string): readonly SessionScript[] {
  if (size === 'real size mix') return readSizeMix(process.env['AUDIT_SESSIONS_FILE']).sessions
  const kib = Number(/^(\d+) KB$/.exec(size)?.[1] ?? 0)
  return makeSessions(40, () => (kib === 0 ? SMALL_TEXT_BYTES : kib * 1024 - BARE_RECORD_BYTES), 17)
}

async function measure(): Promise<ContenderReport> {
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

/** At least so many events: the last session is recorded to its end. */
async function record(least: number): Promise<{ events: number; bytes: number }> {
  const total = { events: 0, bytes: 0 }
  for (let number = 0; total.events < least; number++) {
    const script = scripts[number % scripts.length]
    if (script === undefined) throw new Error('no sessions to record')
    const { events, bytes } = await recorder.play(script)
    total.events += events
    total.bytes += bytes
  }
  await recorder.flush()
  return total
}

function openTrail(): Recorder {
  const trail = createAuditTrail({
    agentId: 'customer-service',
    modelId: 'gpt-4o-2024-11-20',
    systemPrompt: { sha256: PROMPT_SHA256 },
    brokers: order.brokers,
    topic: order.topic,
    spoolDir: order.spoolDir,
    durability: order.contender === 'ours, durability disk' ? 'disk' : 'broker',
    onProblem: (problem) => process.stderr.write(`${problem.code}: ${problem.message}\n`),
  })
  return {
    async play({ start, events }) {
      await trail.writable()
      const buffered = trail.stats().bufferBytes
      const session = trail.startSession(start)
      for (const event of events) session.record(event)
      session.end()
      const bytes = trail.stats().bufferBytes - buffered
      // As an agent's loop would, between one session and the next.
      await setImmediate()
      return { events: events.length + 2, bytes }
    },
    async flush() {
      const { pending, refused } = await trail.flush({ timeoutMs: 120_000 })
      if (pending > 0 || refused > 0) throw new Error(`${pending} events not acknowledged, ${refused} refused`)
    },
    close: () => trail.close(),
  }
}

async function openKafkajs(): Promise<Recorder> {
  const producer = connectKafka(order.brokers).producer({ allowAutoTopicCreation: false })
  await producer.connect()
  const sending: Promise<unknown>[] = []
  const batch: Message[] = []
  const send = (messages: Message[], compression = 0): Promise<unknown> =>
    producer.send({ topic: order.topic, messages, compression })
  const ways: Partial<Record<ProducerContender, (messages: Message[]) => Promise<unknown>>> = {
    'kafkajs, 1000 a send': async (messages) => {
      batch.push(...messages)
      if (batch.length >= BATCH_EVENTS) await send(batch.splice(0, BATCH_EVENTS), ZSTD)
    },
    'kafkajs, a send each, not awaited': async (messages) => {
      sending.push(...messages.map((message) => send([message])))
    },
    'kafkajs, a send each, awaited': async (messages) => {
      for (const message of messages) await send([message])
    },
  }
  const way = ways[order.contender]
  if (way === undefined) throw new Error(`unknown contender ${order.contender}`)
  return {
    async play(script) {
      const messages = toMessages(script)
      await way(messages)
      await setImmediate()
      const bytes = messages.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
      return { events: messages.length, bytes }
    },
    async flush() {
      if (batch.length > 0) await send(batch.splice(0), ZSTD)
      await Promise.all(sending.splice(0))
    },
    close: () => producer.disconnect(),
  }
}

/** The same events as JSON, with the ids and times one would give them. */
function toMessages({ start, events }: SessionScript): Message[] {
  const session_id = randomUUID()
  const common = { session_id, agent_id: 'customer-service', model_id: 'gpt-4o-2024-11-20' }
  const all = [{ event_type: 'session_start', ...start }, ...events, { event_type: 'session_end', outcome: 'success' }]
  return all.map((event, session_seq) => ({
    key: session_id,
    value: JSON.stringify({
      event_id: randomUUID(),
      timestamp: new Date().toISOString(),
      ...common,
      session_seq,
      ...event,
    }),
  }))
}
