/**
 * What the seals take in the store: a producer, our consumer and notary at work for a while, then the compressed columns of
 * audit_seals and audit_checkpoints, by event. How many seals there are depends on the load: of a producer, one for each 1,024
 * events or each second; of the consumer, one for each commit of a partition; of the notary, a checkpoint a second.
 */
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import { Admin } from '@platformatic/kafka'
import { startLatencyProducer } from '../latency/queryable.ts'
import { rounded } from '../support/results.ts'
import { environmentOf, type Store } from '../support/store.ts'
import type { Figure, IntegrityBenchmark, Measured } from './figures.ts'
import { openSealedLog, type SealedLog, startCommand, type TrailStore, withStore } from './sealed-log.ts'

interface Load {
  readonly name: string
  readonly eventsPerSecond: number
  readonly partitions: number
  readonly sessions: number
}

const LOADS: readonly Load[] = [
  { name: 'everyday, 5,000 events/s', eventsPerSecond: 5000, partitions: 12, sessions: 64 },
  { name: 'a slow agent, 10 events/s', eventsPerSecond: 10, partitions: 12, sessions: 1 },
]
/** agentId of latency-producer.ts. */
const PRODUCER = 'customer-service'
const BYTES = 2
const UNIT = 'bytes an event'

/** Compressed bytes of the tables, and their rows. */
export interface SealBytes {
  readonly seals: number
  readonly checkpoints: number
  readonly producerSeals: number
  readonly consumerSeals: number
  readonly checkpointCount: number
}

export async function measureStorage(benchmark: IntegrityBenchmark): Promise<Measured> {
  const figures: Figure[] = []
  const notes: string[] = []
  for (const load of LOADS) {
    const measured = await withStore(benchmark.directory, (on) => measureLoad(benchmark, load, on))
    figures.push(...measured.figures)
    notes.push(...measured.notes)
    for (const note of measured.notes) benchmark.say(note)
  }
  return { figures, notes }
}

async function measureLoad(benchmark: IntegrityBenchmark, load: Load, on: TrailStore): Promise<Measured> {
  const { brokers, directory, seconds } = benchmark
  const { eventsPerSecond, partitions, sessions } = load
  await using log = await openSealedLog({ ...on, brokers, directory, partitions, producer: PRODUCER })
  const spoolDir = mkdtempSync(join(directory, 'spool-'))
  const { topic } = log
  const producer = startLatencyProducer(
    { brokers, topic, spoolDir, eventsPerSecond, seconds, sessions },
    { AUDIT_SIGNING_KEY_FILE: log.producer.file },
  )
  await producer.ended()
  const recorded = await recordedEvents(on.store, eventsPerSecond * seconds, log)
  await verifyTrail(on, log)
  const bytes = await sealBytes(on.store)
  const topicBytes = await logBytes(brokers, `${topic}${SEALS_SUFFIX}`)
  const { producerSeals, consumerSeals, checkpointCount } = bytes
  const figure = (name: string, all: number, bound?: Figure['bound']): Figure => {
    return { stage: 'storage', name: `${name}, ${load.name}`, unit: UNIT, bound, rounds: [rounded(all / recorded, 3)] }
  }
  return {
    figures: [
      figure('storage', bytes.seals + bytes.checkpoints, { most: BYTES }),
      figure('the topic of seals in Kafka', topicBytes),
    ],
    notes: [
      `Storage, ${load.name}, ${partitions} partitions: ${recorded} events in ${seconds} s, ${producerSeals} seals of the producer, ${consumerSeals} of the consumer, ${checkpointCount} checkpoints; audit_seals ${bytes.seals} B, audit_checkpoints ${bytes.checkpoints} B compressed.`,
    ],
  }
}

/** The producer starts and ends sessions and its run beside the events of its load. */
async function recordedEvents(
  { admin }: Store,
  least: number,
  log: { untilSealed(events: number): Promise<void> },
): Promise<number> {
  await log.untilSealed(least)
  const [row] = await admin.rows<{ events: number }>(
    'SELECT toFloat64(count()) AS events FROM {database:Identifier}.audit_events',
  )
  return row?.events ?? 0
}

/** What is measured is a trail that verifies. */
async function verifyTrail(
  { dataDir }: Pick<TrailStore, 'dataDir'>,
  { trustFile, checkpointsFile }: SealedLog,
): Promise<void> {
  const args = ['verify', '--trust', trustFile, '--checkpoints', checkpointsFile]
  await startCommand(args, environmentOf(dataDir.reader)).ended()
}

export async function sealBytes({ admin }: Store): Promise<SealBytes> {
  for (const table of ['audit_seals', 'audit_checkpoints']) {
    await admin.command(`OPTIMIZE TABLE {database:Identifier}.${table} FINAL`)
  }
  const [row] = await admin.rows<SealBytes>(
    `SELECT toFloat64(sumIf(data_compressed_bytes, table = 'audit_seals')) AS seals,
       toFloat64(sumIf(data_compressed_bytes, table = 'audit_checkpoints')) AS checkpoints,
       toFloat64((SELECT countIf(kind = 'producer') FROM {database:Identifier}.audit_seals)) AS producerSeals,
       toFloat64((SELECT countIf(kind = 'consumer') FROM {database:Identifier}.audit_seals)) AS consumerSeals,
       toFloat64((SELECT count() FROM {database:Identifier}.audit_checkpoints)) AS checkpointCount
     FROM system.parts WHERE active AND database = {database:String}`,
    { database: admin.database },
  )
  if (row === undefined) throw new Error('the server says nothing of its parts')
  return row
}

/** Bytes of a topic on the broker. */
export async function logBytes(bootstrapBrokers: readonly string[], topic: string): Promise<number> {
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: [...bootstrapBrokers] })
  try {
    const found = await admin.describeLogDirs({ topics: [{ name: topic, partitions: [0] }] })
    const sizes = found.flatMap(({ results }) => results.flatMap(({ topics }) => topics))
    const own = sizes.filter(({ name }) => name === topic).flatMap(({ partitions }) => partitions)
    return own.reduce((sum, { partitionSize }) => sum + Number(partitionSize), 0)
  } finally {
    await admin.close()
  }
}
