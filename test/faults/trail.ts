/** One log under load: a topic with its group, the real producer at full speed, and messages that no agent would send. */
import { type ChildProcess } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { registerLog } from '@agent-audit/analytics'
import { markKafkaLogClean } from '@agent-audit/consumer'
import { logIdOf, SEALS_SUFFIX } from '@agent-audit/schemas'
import kafkajs, { type Message, type Producer } from 'kafkajs'
import { encodeRecord, makeRecord, uuidOf } from '../support/records.ts'
import { newKey, type TestKey } from '../support/sealed-runs.ts'
import { until } from '../support/wait.ts'
import { endChild, isAlive, startChild } from './child.ts'
import type { Command, ProducerOrder, Tally } from './producer-main.ts'
import { STRIKE_FILE } from './producer-strike.ts'
import type { Servers } from './servers.ts'

const STRIKE_TIMEOUT_MS = 20_000
const NOISE_PAUSE_MS = 250
const NOISE_RECORDS = 4
const NOISE_DEADLINE_MS = 20_000

export interface TrailPlan {
  readonly name: string
  readonly partitions: number
  readonly durability: 'disk' | 'broker'
  /** Events a second after a burst. */
  readonly rate: number
}

interface Log {
  readonly logId: string
  readonly producerKey: TestKey
  /** Starts the producer's process. */
  readonly start: () => ChildProcess
  readonly idsFile: string
  readonly strikeFile: string
  readonly spoolDir: string
}

export class Trail {
  readonly topic: string
  readonly group: string
  readonly logId: string
  readonly producerKey: TestKey
  /** Runs of the producer, and those of them that were killed. */
  readonly runs = new Set<string>()
  readonly killedRuns = new Set<string>()
  readonly #servers: Servers
  #child: ChildProcess
  readonly #start: () => ChildProcess
  readonly #strikeFile: string
  readonly #spoolDir: string
  readonly #idsFile: string
  #idsRead = 0
  #partitions: number
  readonly #rate: number
  readonly #noise = new Map<number, number>()
  #noiseIds: string[] = []
  #noisePaused = true
  #noiseRunning: Promise<void> = Promise.resolve()

  private constructor(servers: Servers, plan: TrailPlan, log: Log) {
    this.#servers = servers
    this.topic = topicOf(plan)
    this.group = groupOf(plan)
    this.#partitions = plan.partitions
    this.#rate = plan.rate
    this.logId = log.logId
    this.producerKey = log.producerKey
    this.#start = log.start
    this.#child = log.start()
    this.#idsFile = log.idsFile
    this.#strikeFile = log.strikeFile
    this.#spoolDir = log.spoolDir
  }

  static async open(servers: Servers, plan: TrailPlan): Promise<Trail> {
    const [topic, group, { brokers }] = [topicOf(plan), groupOf(plan), servers.kafka]
    const sourceId = await servers.ask(async (admin) => {
      const configEntries = [{ name: 'message.timestamp.type', value: 'LogAppendTime' }]
      await admin.createTopics({
        // Its own wait ends the process when a broker has not heard of the topic yet.
        waitForLeaders: false,
        topics: [
          { topic, numPartitions: plan.partitions, configEntries },
          { topic: topic + SEALS_SUFFIX, numPartitions: 1, configEntries },
        ],
      })
      return (await admin.describeCluster()).clusterId
    })
    await servers.inSync(topic)
    await servers.inSync(topic + SEALS_SUFFIX)
    await registerLog(servers.admin, { sourceId, topic, consumerGroup: group })
    await markKafkaLogClean({ brokers, ssl: false, sasl: undefined, clientId: 'test' }, { topic, groupId: group })
    const idsFile = join(servers.directory, `${plan.name}.ids`)
    const order: ProducerOrder = {
      brokers,
      topic,
      spoolDir: join(servers.directory, `${plan.name}-spool`),
      durability: plan.durability,
      idsFile,
      keyFile: join(servers.directory, `${plan.name}-producer.key`),
    }
    const producerKey = newKey('faults')
    writeFileSync(order.keyFile, producerKey.pem, { mode: 0o600 })
    const logFile = join(servers.directory, `${plan.name}-producer.log`)
    const strikeFile = join(servers.directory, `${plan.name}-strike`)
    const start = (): ChildProcess =>
      startChild({
        script: 'producer-main.ts',
        argument: JSON.stringify(order),
        environment: { [STRIKE_FILE]: strikeFile },
        imported: 'producer-strike.ts',
        logFile,
      })
    const logId = logIdOf(sourceId, topic).toString('hex')
    return new Trail(servers, plan, { logId, producerKey, start, idsFile, strikeFile, spoolDir: order.spoolDir })
  }

  get partitions(): number[] {
    return Array.from({ length: this.#partitions }, (_, partition) => partition)
  }

  async go(burst: number): Promise<void> {
    await this.#goOn(burst)
    this.#noisePaused = false
    this.#noiseRunning = this.#makeNoise()
  }

  async #goOn(burst: number): Promise<void> {
    this.runs.add((await this.#tell({ kind: 'go', burst, rate: this.#rate })).runId)
  }

  /**
   * Kills the producer right after a statement of its spool, or after a while at any moment.
   * @returns whether it came to the statement.
   */
  async killProducer(statement: string): Promise<boolean> {
    writeFileSync(this.#strikeFile, statement)
    const ended = (): true | undefined => !isAlive(this.#child) || undefined
    const struck = await until(statement, ended, { timeoutMs: STRIKE_TIMEOUT_MS }).catch(() => false)
    await endChild(this.#child, 'SIGKILL')
    rmSync(this.#strikeFile)
    this.killedRuns.add([...this.runs].at(-1) ?? '')
    return struck
  }

  /** Another process of the producer, which records on. */
  async startProducer(): Promise<void> {
    this.#child = this.#start()
    await this.#goOn(0)
  }

  /** Stops the load, and waits until all of it is acknowledged. @returns The ids of events acknowledged since the last call. */
  async pause(): Promise<string[]> {
    this.#noisePaused = true
    const [{ refused }] = await Promise.all([this.#tell({ kind: 'pause' }), this.#noiseRunning])
    if (refused > 0) throw new Error(`the producer refused ${refused} events`)
    await until('what killed producers have left is sent', () => this.#leftOver().length === 0 || undefined)
    return [...this.#readIds(), ...this.#noiseIds.splice(0)]
  }

  /** Spools of killed producers. */
  #leftOver(): string[] {
    const files = existsSync(this.#spoolDir) ? readdirSync(this.#spoolDir, { recursive: true }).map(String) : []
    return files.filter((file) => [...this.killedRuns].some((run) => file.includes(run)))
  }

  async addPartition(): Promise<number> {
    const added = this.#partitions++
    const topicPartitions = [{ topic: this.topic, count: this.#partitions }]
    await this.#servers.ask((admin) => admin.createPartitions({ topicPartitions }))
    return added
  }

  async close(): Promise<void> {
    await endChild(this.#child, 'SIGKILL')
    await this.#servers.ask((admin) => admin.deleteTopics({ topics: [this.topic, this.topic + SEALS_SUFFIX] }))
  }

  async #tell(command: Command): Promise<Tally> {
    const answer = Promise.withResolvers<Tally>()
    const onAnswer = (tally: Tally): void => answer.resolve(tally)
    const onExit = (): void => answer.reject(new Error('the producer ended by itself'))
    this.#child.once('message', onAnswer).once('exit', onExit)
    try {
      this.#child.send(command)
      return await answer.promise
    } finally {
      this.#child.off('message', onAnswer).off('exit', onExit)
    }
  }

  #readIds(): string[] {
    const file = openSync(this.#idsFile, 'r')
    try {
      const chunks: Buffer[] = []
      for (;;) {
        const chunk = Buffer.alloc(2 ** 20)
        const length = readSync(file, chunk, 0, chunk.length, this.#idsRead)
        if (length === 0) break
        this.#idsRead += length
        chunks.push(chunk.subarray(0, length))
      }
      return Buffer.concat(chunks).toString().split('\n').filter(Boolean)
    } finally {
      closeSync(file)
    }
  }

  /** Events sent twice, sooner and later, and messages that are none: batches with rows for both tables. */
  async #makeNoise(): Promise<void> {
    let producer: Producer | undefined
    while (!this.#noisePaused) {
      for (const partition of this.partitions) {
        const seq = this.#noise.get(partition) ?? 0
        const run = `noise ${this.topic} ${partition}`
        const again = Math.max(0, seq - NOISE_RECORDS * 20)
        const seqs = [...Array.from({ length: NOISE_RECORDS }, (_, index) => seq + index), seq, again]
        const values = [...seqs.map((number) => encodeRecord(makeRecord(run, number))), null]
        const messages = values.map((value) => ({ key: run, value, partition }))
        // Sent until it is acknowledged: the consumer has to find the events that come twice.
        for (;;) {
          producer ??= await this.#connect().catch(() => undefined)
          if (await this.#send(producer, messages)) break
          void producer?.disconnect().catch(() => undefined)
          producer = undefined
        }
        this.#noise.set(partition, seq + NOISE_RECORDS)
        const fresh = Array.from({ length: NOISE_RECORDS }, (_, index) => uuidOf(`${run} ${seq + index}`))
        this.#noiseIds.push(...fresh)
      }
      await sleep(NOISE_PAUSE_MS)
    }
    await producer?.disconnect().catch(() => undefined)
  }

  async #connect(): Promise<Producer> {
    const retry = { retries: 2, initialRetryTime: 200 }
    const brokers = [...this.#servers.kafka.brokers]
    const kafka = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING, retry })
    const producer = kafka.producer({ allowAutoTopicCreation: false, metadataMaxAge: 1000 })
    await producer.connect()
    return producer
  }

  async #send(producer: Producer | undefined, messages: Message[]): Promise<boolean> {
    if (producer === undefined) return sleep(NOISE_PAUSE_MS, false)
    // kafkajs may resolve without having sent all: the answer has to name the partition.
    const sent = producer.send({ topic: this.topic, messages }).then(
      (answer) => answer.some((entry) => entry.partition === messages[0]?.partition && entry.errorCode === 0),
      () => false,
    )
    return Promise.race([sent, sleep(NOISE_DEADLINE_MS, false, { ref: false })])
  }
}

function topicOf({ name }: TrailPlan): string {
  return `faults.${name}`
}

function groupOf({ name }: TrailPlan): string {
  return `writer-${name}`
}
