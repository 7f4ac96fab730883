/**
 * Three trails in one process record in turns: `plain` and `again` without a key, `sealed` with one. producer-cost.ts starts it with
 * one argument, a {@link TurnsOrder}; it prints its measurements as JSON.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type AuditSession, type AuditTrail, createAuditTrail } from '@agent-audit/producer'
import { generateKey } from '@agent-audit/seals'
import { readThreadUs, threadsNamed } from '../support/process-usage.ts'

export interface TurnsOrder {
  readonly brokers: readonly string[]
  readonly topic: string
  /** For spools. */
  readonly directory: string
  readonly rounds: number
  /** Of each trail in a round. */
  readonly records: number
}

/** CPU of one trail, microseconds a record. */
interface Cost {
  readonly callerUs: number
  readonly deliveryUs: number
}

const NAMES = ['plain', 'again', 'sealed'] as const
type Name = (typeof NAMES)[number]

export interface TurnsReport {
  readonly rounds: readonly Readonly<Record<Name, Cost>>[]
}

/** Recorded at a stretch, about two seals of them. */
const BURST = 2000
const WARM_UP = 20_000
const PRODUCER = 'bench'
/** Names of threads are cut to 15 characters. */
const DELIVERY = 'agent-audit-delivery'.slice(0, 15)
/** A text that makes a record of some 300 bytes. */
const REASONING = 'the order is below the limit of the policy and the address was confirmed by the customer before'

interface MeasuredTrail {
  readonly name: Name
  readonly trail: AuditTrail
  readonly session: AuditSession
  /** Of the delivery thread. */
  readonly thread: number
}

const order = JSON.parse(process.argv[2] ?? '{}') as TurnsOrder
const trails: MeasuredTrail[] = []
for (const name of NAMES) trails.push(await open(name))
const rounds: Record<Name, Cost>[] = []
for (let round = 0; round < order.rounds; round++) rounds.push(await measure(round))
for (const { trail } of trails) {
  const { pending, refused } = await trail.close()
  if (pending > 0 || refused > 0) throw new Error(`${pending} events not acknowledged, ${refused} refused`)
}
process.stdout.write(`${JSON.stringify({ rounds } satisfies TurnsReport)}\n`)

async function open(name: Name): Promise<MeasuredTrail> {
  const { brokers, topic, directory } = order
  const spoolDir = join(directory, name)
  mkdirSync(spoolDir)
  const known = new Set(threadsNamed(DELIVERY))
  const signing = name === 'sealed' ? { key: generateKey(PRODUCER) } : undefined
  const trail = createAuditTrail({ agentId: PRODUCER, brokers, topic, spoolDir, signing, handleExit: false })
  const session = trail.startSession()
  for (let done = 0; done < WARM_UP; done += BURST) await burst(trail, session)
  const thread = threadsNamed(DELIVERY).find((each) => !known.has(each))
  if (thread === undefined) throw new Error('no delivery thread was found')
  return { name, trail, session, thread }
}

async function burst(trail: AuditTrail, session: AuditSession): Promise<void> {
  for (let index = 0; index < BURST; index++) session.decision({ reasoning: REASONING })
  await trail.flush()
}

/** Bursts in turns, so that what the machine does beside meets all trails alike. */
async function measure(round: number): Promise<Record<Name, Cost>> {
  const callerUs = new Map<Name, number>(NAMES.map((name) => [name, 0]))
  const before = trails.map(({ thread }) => readThreadUs(thread))
  for (let done = 0; done < order.records; done += BURST) {
    const first = (round + done / BURST) % trails.length
    for (const { name, trail, session } of [...trails.slice(first), ...trails.slice(0, first)]) {
      const from = process.threadCpuUsage()
      await burst(trail, session)
      const { user, system } = process.threadCpuUsage(from)
      callerUs.set(name, (callerUs.get(name) ?? 0) + user + system)
    }
  }
  const costs = trails.map(({ name, thread }, index): [Name, Cost] => [
    name,
    {
      callerUs: (callerUs.get(name) ?? 0) / order.records,
      deliveryUs: (readThreadUs(thread) - (before[index] ?? 0)) / order.records,
    },
  ])
  return Object.fromEntries(costs) as Record<Name, Cost>
}
