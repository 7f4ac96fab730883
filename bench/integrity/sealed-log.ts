/** A topic with its topic of seals, and the processes that store, seal and notarize it: our consumer and notary, with keys. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import { EVENTS_TABLE, SEALS_SUFFIX } from '@agent-audit/schemas'
import { EMPTY_TRUST, formatTrust, generateKey, type KeyRole, type KeySigner, signerFromPem } from '@agent-audit/seals'
import { prepareLog, startOurConsumer } from '../consumer/consumer-contenders.ts'
import { connectKafka, createTopic } from '../support/kafka.ts'
import { MeasuredProcess } from '../support/measured-process.ts'
import { environmentOf, openStore, type Store } from '../support/store.ts'

export interface TrailStore {
  readonly dataDir: DataDir
  readonly store: Store
}

/** New tables in a folder of their own. */
export async function withStore<T>(directory: string, work: (on: TrailStore) => Promise<T>): Promise<T> {
  await using dataDir = await openDataDir(mkdtempSync(join(directory, 'data-')))
  await using store = await openStore(dataDir)
  return await work({ dataDir, store })
}

export interface SealedLogOptions extends TrailStore {
  readonly brokers: readonly string[]
  readonly directory: string
  readonly partitions: number
  /** producer_id of the one producer. */
  readonly producer: string
}

interface Key {
  readonly signer: KeySigner
  readonly file: string
}

export interface SealedLog extends AsyncDisposable {
  readonly topic: string
  readonly trustFile: string
  readonly producer: Key
  /** Where the notary writes its checkpoints outside. */
  readonly checkpointsFile: string
  /** Waits until all events are stored, and all of them sealed and under a checkpoint. */
  untilSealed(events: number): Promise<void>
}

const ORIGIN = 'bench.example/seals'
const CLI = 'cli/dist/main.js'
const POLL_MS = 250
/** Without any progress. */
const STUCK_MS = 120_000

/** A command of `agent-audit`. */
export function startCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  nodeOptions: readonly string[] = [],
): MeasuredProcess {
  return new MeasuredProcess({ script: CLI, args, env, nodeOptions, built: true })
}

export async function openSealedLog(options: SealedLogOptions): Promise<SealedLog> {
  const { brokers, dataDir, store, partitions } = options
  const directory = mkdtempSync(join(options.directory, 'sealed-'))
  const topic = `bench.integrity.${process.pid}.${Date.now()}`
  await makeTopics(brokers, topic, partitions)
  await prepareLog({ brokers, store }, topic, topic)
  const [producer, consumer, notary] = [options.producer, 'consumer', 'notary'].map((name) =>
    makeKey(directory, name),
  ) as [Key, Key, Key]
  const trustFile = join(directory, 'trust')
  writeFileSync(trustFile, trustOf({ producer, consumer, notary }, options.producer))
  const sink = join(directory, 'checkpoints')
  const args = ['notary', '--topic', topic, '--brokers', brokers.join(',')]
  const sealing = startCommand(
    [...args, '--key', notary.file, '--trust', trustFile, '--file', sink],
    environmentOf(dataDir.notary),
  )
  await sealing.line(/signing as/)
  const storing = startOurConsumer({ brokers, topic, group: topic, user: dataDir.writer, keyFile: consumer.file })
  await storing.running.claimed()
  return {
    topic,
    trustFile,
    producer,
    checkpointsFile: sink,
    untilSealed: (events) =>
      untilSealed(store, events, async () => {
        if (!sealing.isAlive) throw new Error(`the notary ended:\n${sealing.lastLines()}`)
        const failure = await storing.running.failure()
        if (failure !== undefined) throw new Error(`the consumer: ${failure}`)
      }),
    [Symbol.asyncDispose]: async () => {
      await storing.running.stop()
      await sealing.stop()
    },
  }
}

async function makeTopics(brokers: readonly string[], topic: string, partitions: number): Promise<void> {
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  await createTopic(admin, topic, partitions)
  await createTopic(admin, `${topic}${SEALS_SUFFIX}`, 1)
  await admin.disconnect()
}

function makeKey(directory: string, name: string): Key {
  const pem = generateKey(name)
  const file = join(directory, `${name}.key`)
  writeFileSync(file, pem, { mode: 0o600 })
  return { signer: signerFromPem(pem), file }
}

function trustOf(keys: Readonly<Record<'producer' | 'consumer' | 'notary', Key>>, producer: string): string {
  const trusted = (Object.entries(keys) as [KeyRole, Key][]).map(([role, { signer }]) => ({
    key: signer.key,
    role,
    notBefore: 0,
    notAfter: undefined,
    revoked: undefined,
  }))
  return formatTrust({ ...EMPTY_TRUST, keys: trusted, producers: [producer], origin: ORIGIN })
}

interface Progress {
  readonly stored: number
  /** Rows of partitions that no consumer seal covers to their end, and events that no producer seal counts. */
  readonly unsealed: number
  readonly leaves: number
  /** Leaves that the newest checkpoint holds. */
  readonly anchored: number
}

async function untilSealed(store: Store, events: number, expectAlive: () => Promise<void>): Promise<void> {
  let [before, since] = ['', performance.now()]
  for (;;) {
    await expectAlive()
    const progress = await progressOf(store)
    const { stored, unsealed, leaves, anchored } = progress
    if (stored >= events && unsealed === 0 && anchored === leaves) return
    const text = JSON.stringify(progress)
    if (text !== before) [before, since] = [text, performance.now()]
    if (performance.now() - since > STUCK_MS) throw new Error(`${events} events are not all sealed: ${text}`)
    await sleep(POLL_MS)
  }
}

async function progressOf({ admin }: Store): Promise<Progress> {
  const [row] = await admin.rows<Progress>(
    `WITH
       (SELECT count() FROM {database:Identifier}.${EVENTS_TABLE}) AS events,
       (SELECT sum(toUInt64OrZero(extract(note, '\\ncount ([0-9]+)\\n'))) FROM {database:Identifier}.audit_seals
        WHERE kind = 'producer') AS counted,
       (SELECT countIf(sealed < last) FROM
         (SELECT log_partition AS partition, max(log_offset) AS last FROM {database:Identifier}.${EVENTS_TABLE} GROUP BY partition) AS rows
         LEFT JOIN (SELECT assumeNotNull(log_partition) AS partition, assumeNotNull(max(last_number)) AS sealed
           FROM {database:Identifier}.audit_seals WHERE kind = 'consumer' GROUP BY partition) AS seals USING (partition)
        SETTINGS join_use_nulls = 0) AS behind
     SELECT toFloat64(events) AS stored, toFloat64(behind) + if(counted < events, 1., 0.) AS unsealed,
       toFloat64((SELECT count() FROM {database:Identifier}.audit_seals)) AS leaves,
       toFloat64((SELECT max(size) FROM {database:Identifier}.audit_checkpoints)) AS anchored`,
  )
  return row ?? { stored: 0, unsealed: 0, leaves: 0, anchored: 0 }
}
