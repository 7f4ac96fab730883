/**
 * The real consumer, which can be struck at a step of its work. It runs as by `npm run consumer`, but its source and sink are
 * watched: at the step that an IPC message names (a {@link Strike}, until `forget`) it sends itself a signal. It prints its
 * steps to standard output, a {@link Sign} a line, each before the next step begins; its log is on standard error.
 */
import { writeSync } from 'node:fs'
import net from 'node:net'
import { createConsumer, readSettings } from '@agent-audit/consumer'
import { type Assignment, composeParts, type ConsumerParts, type Insert } from '@agent-audit/consumer/pipeline'
import type { Sender } from '@agent-audit/kafka'
import { pino } from 'pino'
import { decodeRows } from '../simulation/insert-rows.ts'

export const STEPS = [
  'after the fetch',
  'after the fence commit',
  'before a commit',
  'in a commit',
  'insert sent',
  'insert answered',
  'between the two inserts',
  'before a seal',
  'seal sent',
  'seal answered',
] as const
export type Step = (typeof STEPS)[number]

/** The signal that the process sends itself when it next reaches a step. */
export interface Strike {
  readonly step: Step
  readonly signal: 'SIGKILL' | 'SIGSTOP'
  /** From sending an insert or a commit on, milliseconds; the other steps are struck at once. */
  readonly delayMs: number
}

/** A line that the consumer prints; `at` is milliseconds since 1970, and `lagMs` the age of the oldest record just stored. */
export type Sign =
  | { readonly kind: 'claimed' | 'released'; readonly partition: number }
  | { readonly kind: 'forgotten' }
  | { readonly kind: 'struck'; readonly step: Step; readonly at: number }
  | { readonly kind: 'stored'; readonly partition: number; readonly at: number; readonly lagMs: number }

/** Environment variable with a JSON object: ports that are reached through other ports. */
export const ROUTES = 'FAULTS_ROUTES'

let armed: Strike | undefined
/** When the records read last were appended, by partition: slices of `[first, time]`. */
const appended = new Map<number, [first: number, time: number][]>()
/** Last offset of the events stored last, by partition: skipped rows from there or below on are of the same batch, or follow it. */
const eventsTo = new Map<number, number>()
/** Calls of the sink and of claims that have not settled. */
const calls = new Set<string>()

if (import.meta.main) await main()

async function main(): Promise<void> {
  const drain = new AbortController()
  process.on('message', (strike: Strike | 'forget') => {
    armed = strike === 'forget' ? undefined : strike
    if (strike === 'forget') say({ kind: 'forgotten' })
  })
  // The process ends with its parent.
  process.on('disconnect', () => process.exit(9))
  reroute(JSON.parse(process.env[ROUTES] ?? '{}') as Record<string, number>)
  const settings = readSettings(process.env)
  const log = pino({ level: settings.LOG_LEVEL, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2))
  process.once('SIGTERM', () => {
    drain.abort()
    // It should have ended by now. The line helps a reader of a failed round's logs.
    setTimeout(
      () => log.warn({ calls: [...calls], active: process.getActiveResourcesInfo() }, 'still draining'),
      12_000,
    )
  })
  try {
    await createConsumer(settings, log, (given) => watchParts(composeParts(given))).run(drain.signal)
    log.info('drained')
    process.exit(0)
  } catch (error) {
    log.fatal(error)
    process.exit(1)
  }
}

/** kafkajs connects to the addresses that the brokers advertise, so the proxies are put into the calls that connect. */
function reroute(routes: Readonly<Record<string, number>>): void {
  const connect = net.connect.bind(net) as (options: net.TcpNetConnectOpts, onConnect?: () => void) => net.Socket
  net.connect = ((options: net.TcpNetConnectOpts, onConnect?: () => void) =>
    connect({ ...options, port: routes[options.port] ?? options.port }, onConnect)) as typeof net.connect
}

function say(sign: Sign): void {
  writeSync(1, `${JSON.stringify(sign)}\n`)
}

function reach(step: Step): void {
  if (armed?.step !== step) return
  const { signal } = armed
  armed = undefined
  say({ kind: 'struck', step, at: Date.now() })
  process.kill(process.pid, signal)
}

function reachLater(step: Step): void {
  if (armed?.step === step) setTimeout(() => reach(step), armed.delayMs)
}

function watchParts(parts: ConsumerParts): ConsumerParts {
  const { source, seals } = parts
  const sink = noteCalls(parts.sink, 'sink')
  return {
    ...parts,
    seals: seals && { ...seals, createSender: () => watchSender(seals.createSender()) },
    source: override(source, { run: (work, drain) => source.run((claim) => watchWork(claim, work), drain) }),
    sink: override(sink, {
      async insert(insert) {
        const batches = batchesOf(insert)
        if (insert.table === 'audit_skipped' && batches.some(isHalfStored)) reach('between the two inserts')
        const answer = sink.insert(insert)
        reachLater('insert sent')
        const said = await answer
        reach('insert answered')
        if (said.kind !== 'stored') return said
        for (const batch of batches) {
          if (insert.table === 'audit_events') eventsTo.set(batch.partition, batch.last)
          sayStored(batch)
        }
        return said
      },
    }),
  }
}

function watchSender(sender: Sender): Sender {
  return override(sender, {
    async send(to, records) {
      reach('before a seal')
      const answer = sender.send(to, records)
      reachLater('seal sent')
      const said = await answer
      reach('seal answered')
      return said
    },
  })
}

async function watchWork(given: Assignment, work: (claim: Assignment) => Promise<void>): Promise<void> {
  const { partition } = given
  const claim = noteCalls(given, `partition ${partition}`)
  say({ kind: 'claimed', partition })
  const watched = override(claim, {
    async *read(from, until) {
      const slices: [number, number][] = []
      appended.set(partition, slices)
      for await (const slice of claim.read(from, until)) {
        const first = slice.records[0]
        if (first !== undefined) slices.push([first.offset, first.logTimeMs])
        reach('after the fetch')
        yield slice
      }
    },
    async commit(offset, metadata, keepFrom) {
      reach('before a commit')
      const answer = claim.commit(offset, metadata, keepFrom)
      reachLater('in a commit')
      const said = await answer
      if (said === 'acknowledged' && metadata.startsWith('busy')) reach('after the fence commit')
      return said
    },
  })
  try {
    await work(watched)
  } finally {
    say({ kind: 'released', partition })
  }
}

interface Batch {
  readonly partition: number
  readonly first: number
  readonly last: number
}

/** The offsets of each partition with rows in an insert. */
function batchesOf({ table, body }: Insert): Batch[] {
  const rows = Map.groupBy(decodeRows(table, body), ({ partition }) => partition)
  return [...rows].map(([partition, of]) => ({ partition, first: of[0]?.offset ?? 0, last: of.at(-1)?.offset ?? 0 }))
}

function isHalfStored({ partition, first }: Batch): boolean {
  return first <= (eventsTo.get(partition) ?? -1) + 1
}

function sayStored({ partition, first }: Batch): void {
  const at = Date.now()
  const slices = appended.get(partition) ?? []
  while ((slices[1]?.[0] ?? Infinity) <= first) slices.shift()
  say({ kind: 'stored', partition, at, lagMs: at - (slices[0]?.[1] ?? at) })
}

/** Wraps the object: each of its calls is in {@link calls} until it settles. */
function noteCalls<T extends object>(target: T, name: string): T {
  return new Proxy(target, {
    get(object, key) {
      const member: unknown = Reflect.get(object, key, object)
      if (typeof member !== 'function') return member
      return (...given: unknown[]): unknown => {
        const answer: unknown = member.apply(object, given)
        if (!(answer instanceof Promise)) return answer
        const call = `${name}: ${String(key)} since ${new Date().toISOString()}`
        calls.add(call)
        return answer.finally(() => calls.delete(call))
      }
    },
  })
}

/** Wraps the object: some members are replaced; the others remain, private state included. */
function override<T extends object>(target: T, changes: Partial<T>): T {
  return new Proxy(target, {
    get(object, name) {
      if (name in changes) return changes[name as keyof T]
      const member: unknown = Reflect.get(object, name, object)
      return typeof member === 'function' ? (member.bind(object) as unknown) : member
    },
  })
}
