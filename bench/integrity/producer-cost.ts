/**
 * What seals cost a producer: the agent's thread, and the delivery thread, with and without a key. Trails take turns in one process
 * (producer-turns.ts). Two of them have no key: as far as these differ, a difference says nothing.
 */
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import { connectKafka, createTopic } from '../support/kafka.ts'
import { MeasuredProcess } from '../support/measured-process.ts'
import { percentile, rounded } from '../support/results.ts'
import type { Figure, IntegrityBenchmark, Measured } from './figures.ts'
import type { TurnsOrder, TurnsReport } from './producer-turns.ts'
import { measurePeers } from './seal-peers.ts'

/** Rounds for each one of the order, and records of each trail in one. */
const ROUNDS = 5
const RECORDS = 40_000
const FULL_EVENTS = 10_000_000
const PARTITIONS = 4
/** Most that a record may cost the delivery thread, microseconds. */
const SEALING_US = 1
/** Share of the differences between two equal trails that count as noise. */
const NOISE = 0.9
const UNIT = 'us an event'

export async function measureProducer(benchmark: IntegrityBenchmark): Promise<Measured> {
  const { brokers, directory, rounds, events, say } = benchmark
  const topic = `bench.producer.${process.pid}.${Date.now()}`
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  await createTopic(admin, topic, PARTITIONS)
  await createTopic(admin, `${topic}${SEALS_SUFFIX}`, 1)
  await admin.disconnect()
  const records = Math.max(4000, Math.round((RECORDS * Math.min(1, events / FULL_EVENTS)) / 2000) * 2000)
  const order: TurnsOrder = {
    brokers,
    topic,
    directory: await mkdtemp(join(directory, 'spools-')),
    rounds: ROUNDS * rounds,
    records,
  }
  const child = new MeasuredProcess({ script: 'bench/integrity/producer-turns.ts', args: [JSON.stringify(order)] })
  const line = child.line(/^\{/)
  const report = JSON.parse((await line).line) as TurnsReport
  await child.ended()
  const figures = figuresOf(report)
  for (const { name, rounds: values } of figures) say(`${name}: ${values.map((value) => value.toFixed(3)).join(' ')}`)
  return {
    figures: [...figures, ...measurePeers(ROUNDS * rounds)],
    notes: [
      `The producer records ${records} events of some 300 bytes in each round and trail, with its default settings but for the key; CPU is that of the one thread.`,
    ],
  }
}

function figuresOf({ rounds }: TurnsReport): Figure[] {
  const differences = (of: 'callerUs' | 'deliveryUs', one: 'sealed' | 'again'): number[] =>
    rounds.map((round) => rounded(round[one][of] - round.plain[of], 4))
  const noise = (of: 'callerUs' | 'deliveryUs'): number =>
    rounded(percentile(differences(of, 'again').map(Math.abs), NOISE), 4)
  const plain = (of: 'callerUs' | 'deliveryUs'): number[] => rounds.map((round) => rounded(round.plain[of], 4))
  return [
    figure({
      stage: 'caller',
      name: "agent's thread, more with a key (bound: 9 of 10 differences of two trails without one)",
      bound: { most: noise('callerUs') },
      rounds: differences('callerUs', 'sealed'),
    }),
    figure({
      stage: 'caller',
      name: "agent's thread, one trail without a key less another",
      rounds: differences('callerUs', 'again'),
    }),
    figure({ stage: 'caller', name: "agent's thread, without a key", rounds: plain('callerUs') }),
    figure({
      stage: 'sealing',
      name: 'delivery thread, more with a key',
      bound: { most: SEALING_US },
      rounds: differences('deliveryUs', 'sealed'),
    }),
    figure({
      stage: 'sealing',
      name: 'delivery thread, one trail without a key less another',
      rounds: differences('deliveryUs', 'again'),
    }),
    figure({ stage: 'sealing', name: 'delivery thread, without a key', rounds: plain('deliveryUs') }),
  ]
}

function figure(of: Omit<Figure, 'unit'>): Figure {
  return { unit: UNIT, ...of }
}
