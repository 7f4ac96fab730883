/**
 * A large sealed trail. Sealed records go into Kafka as several concurrent producers would send them; our consumer and notary do
 * the rest.
 */
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import type { Producer } from 'kafkajs'
import { Filler, PARTITIONS } from '../consumer/backlog.ts'
import { connectKafka, ZSTD } from '../support/kafka.ts'
import { fieldsOf, Run } from '../support/records.ts'
import { makeSessions, SMALL_SESSIONS } from '../support/sessions.ts'
import type { SealedLog, TrailStore } from './sealed-log.ts'
import { SealedRun } from './sealed-run.ts'

/** Of the records that bench/support/records.ts makes. */
export const PRODUCER = 'bench'
const RUNS = 8
/** Events at a stretch: the broker's and the consumer's backlog. */
const FILLED_AT_ONCE = 1_000_000
export const SESSION_EVENTS = 1000

export interface SealedTrail extends TrailStore {
  readonly log: SealedLog
  /** Ids of the runs whose sessions have {@link SESSION_EVENTS} events. */
  readonly longRun: string
  readonly events: number
  /** Appends events, and waits until they are stored, sealed and under a checkpoint. */
  append(count: number): Promise<void>
}

interface TrailParts extends TrailStore {
  readonly log: SealedLog
  readonly brokers: readonly string[]
  readonly say: (line: string) => void
}

export async function openTrail(parts: TrailParts): Promise<SealedTrail & AsyncDisposable> {
  const { log, brokers, say } = parts
  const producer = connectKafka(brokers).producer({ allowAutoTopicCreation: false })
  await producer.connect()
  const filler = new Filler(producer, log.topic)
  const runs = makeRuns(log)
  let made = 0
  return {
    ...parts,
    longRun: runs.at(-1)?.id ?? '',
    get events() {
      return made
    },
    async append(count) {
      const began = performance.now()
      for (let left = count; left > 0; left -= FILLED_AT_ONCE) {
        await filler.fill(runs, Math.min(left, FILLED_AT_ONCE))
        if (left <= FILLED_AT_ONCE) for (const run of runs) run.seal()
        await sendNotes(producer, log.topic, runs)
      }
      made += count
      const sent = performance.now()
      await log.untilSealed(made)
      const [sending, storing] = [sent - began, performance.now() - sent].map((ms) => Math.round(ms / 1000))
      say(`trail: ${count} events made and sent in ${sending} s, stored and sealed ${storing} s later`)
    },
    [Symbol.asyncDispose]: () => producer.disconnect(),
  }
}

/** Runs of small sessions, and one of long ones. */
function makeRuns({ topic, producer: { signer } }: SealedLog): SealedRun[] {
  const plans = SMALL_SESSIONS.map(fieldsOf)
  const small = Array.from({ length: RUNS }, (_, number) => new Run(number, plans, PARTITIONS))
  // Start and end, and three events a step.
  const steps = Math.ceil((SESSION_EVENTS - 2) / 3)
  const long = makeSessions(1, () => 12, 19, steps).map(fieldsOf)
  return [...small, new Run(RUNS, long, PARTITIONS)].map((run) => new SealedRun(run, topic, signer))
}

async function sendNotes(producer: Producer, topic: string, runs: readonly SealedRun[]): Promise<void> {
  const messages = runs.flatMap((run) => run.takeNotes().map((value) => ({ key: run.id, value, partition: 0 })))
  if (messages.length > 0) await producer.send({ topic: `${topic}${SEALS_SUFFIX}`, compression: ZSTD, messages })
}
