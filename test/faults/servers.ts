/** The servers of all rounds: three brokers, and a ClickHouse that can be killed, on a disk that can be filled. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Analytics, connectAnalytics } from '@agent-audit/analytics'
import { EVENTS_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import { type KafkaCluster, startKafka } from '@agent-audit/stack'
import kafkajs, { type Admin } from 'kafkajs'
import { isRunning } from '../support/is-running.ts'
import { until } from '../support/wait.ts'

const DISK_MB = 1024
const ISR_POLL_MS = 200
const SUPERVISE_MS = 500
const LAST_LINES = 12
/** The standard error of ClickHouse's process, below its data directory. */
const ERRORS_FILE = join('clickhouse', 'server.err')
const TABLES = [EVENTS_TABLE, SKIPPED_TABLE]

export class Servers implements AsyncDisposable {
  readonly directory: string
  readonly kafka: KafkaCluster
  /** Why the disk cannot be filled here; undefined if it can. */
  readonly noDisk: string | undefined
  /** The last log lines of ClickHouse for each end that no fault caused. */
  readonly storeDeaths: string[] = []
  readonly #storeDir: string
  readonly #closed = new AbortController()
  #dataDir: DataDir
  #admin: Analytics
  /** Whether it was killed, and not started again yet. */
  #storeKilled = false
  #supervising: Promise<void> = Promise.resolve()

  private constructor(parts: {
    directory: string
    storeDir: string
    kafka: KafkaCluster
    dataDir: DataDir
    noDisk: string | undefined
  }) {
    this.directory = parts.directory
    this.kafka = parts.kafka
    this.noDisk = parts.noDisk
    this.#storeDir = parts.storeDir
    this.#dataDir = parts.dataDir
    this.#admin = connectAnalytics(parts.dataDir.admin)
  }

  static async start(): Promise<Servers> {
    const directory = mkdtempSync(join(tmpdir(), 'agent-audit-faults-'))
    const storeDir = join(directory, 'store')
    mkdirSync(storeDir)
    const noDisk = mountDisk(storeDir)
    const [kafka, dataDir] = await Promise.all([
      startKafka({
        brokers: 3,
        // Not a temporary one, from which a node that ends in order removes its files.
        dataDir: join(directory, 'kafka'),
        properties: {
          'min.insync.replicas': '2',
          'group.min.session.timeout.ms': '1000',
          'broker.session.timeout.ms': '3000',
          'broker.heartbeat.interval.ms': '500',
        },
      }),
      openDataDir(storeDir),
    ])
    const servers = new Servers({ directory, storeDir, kafka, dataDir, noDisk })
    // Parts that were merged away go soon, or they would fill the disk by themselves.
    await servers.alter('MODIFY SETTING old_parts_lifetime = 20')
    servers.#supervising = servers.#supervise()
    return servers
  }

  /** Acts as a supervisor: notes a ClickHouse that has ended by itself as one more fault, and starts it again. */
  async #supervise(): Promise<void> {
    const { signal } = this.#closed
    while (!signal.aborted) {
      await sleep(SUPERVISE_MS, undefined, { signal }).catch(() => undefined)
      if (signal.aborted || this.#storeKilled || isRunning(this.#dataDir.clickhouse.pid)) continue
      const errors = readFileSync(join(this.#storeDir, ERRORS_FILE), 'utf8').trimEnd().split('\n')
      this.storeDeaths.push(errors.slice(-LAST_LINES).join('\n'))
      await this.restartStore()
    }
  }

  /** Waits until a restarting ClickHouse answers. */
  async storeUp(): Promise<void> {
    await until('ClickHouse up', () => isRunning(this.#dataDir.clickhouse.pid) || undefined)
  }

  get store(): DataDir {
    return this.#dataDir
  }

  get admin(): Analytics {
    return this.#admin
  }

  get clickhousePort(): number {
    return Number(new URL(this.#dataDir.admin.url).port)
  }

  get brokerPorts(): number[] {
    return this.kafka.brokers.map((address) => Number(new URL(`kafka://${address}`).port))
  }

  killStore(): Promise<void> {
    this.#storeKilled = true
    return this.#dataDir.clickhouse.kill()
  }

  async restartStore(): Promise<void> {
    const port = this.clickhousePort
    this.#dataDir = await openDataDir(this.#storeDir)
    this.#storeKilled = false
    if (this.clickhousePort !== port) throw new Error(`ClickHouse came back at another port than ${port}`)
    await this.#admin.close()
    this.#admin = connectAnalytics(this.#dataDir.admin)
  }

  /** `ALTER TABLE` of both tables of the trail. */
  async alter(change: string): Promise<void> {
    for (const table of TABLES) await this.#admin.command(`ALTER TABLE {database:Identifier}.${table} ${change}`)
  }

  /** Empties both tables. */
  async clear(): Promise<void> {
    await this.storeUp()
    for (const table of TABLES) await this.#admin.command(`TRUNCATE TABLE {database:Identifier}.${table}`)
  }

  /** Fills the disk under ClickHouse to its last byte. @returns A function that makes room again. */
  async fillDisk(): Promise<() => Promise<void>> {
    // A merge that meets a full disk here may leave a damaged part in place of good ones (ClickHouse 26.7: an empty marks
    // file); ClickHouse then loses rows, and no consumer can prevent it.
    await this.#admin.command('SYSTEM STOP MERGES')
    await until('merges stopped', async () => {
      const [row] = await this.#admin.rows<{ running: number }>(
        'SELECT toFloat64(count()) AS running FROM system.merges',
      )
      return row?.running === 0 || undefined
    })
    const file = join(this.#storeDir, 'ballast')
    const descriptor = openSync(file, 'w')
    try {
      for (let size = 2 ** 20; size >= 512; size /= 2) {
        const block = Buffer.alloc(size, 1)
        try {
          while (writeSync(descriptor, block) === size) continue
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
        }
      }
    } finally {
      closeSync(descriptor)
    }
    return async () => {
      rmSync(file)
      await this.#admin.command('SYSTEM START MERGES')
    }
  }

  /** Asks the live brokers over a new connection. */
  async ask<T>(question: (admin: Admin) => Promise<T>): Promise<T> {
    const retry = { retries: 8, initialRetryTime: 200, maxRetryTime: 1000 }
    const kafka = new kafkajs.Kafka({ brokers: [...this.kafka.brokers], logLevel: kafkajs.logLevel.NOTHING, retry })
    const admin = kafka.admin()
    try {
      await admin.connect()
      return await question(admin)
    } finally {
      await admin.disconnect().catch(() => undefined)
    }
  }

  /** Waits until every partition of a topic, or of all, is on all brokers: the next fault may kill any one of them. */
  async inSync(topic?: string): Promise<void> {
    const brokers = this.kafka.nodes.length
    const look = async (): Promise<true | undefined> => {
      // A broker that has not heard of a new topic yet says that there is none.
      const asked = this.ask((admin) => admin.fetchTopicMetadata(topic === undefined ? undefined : { topics: [topic] }))
      const partitions = (await asked.catch(() => undefined))?.topics.flatMap((found) => found.partitions)
      return partitions?.every(({ isr, leader }) => isr.length === brokers && leader > 0) === true || undefined
    }
    await until('all partitions in sync', look, { pollMs: ISR_POLL_MS })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort()
    await this.#supervising
    await this.#admin.close()
    await Promise.all([this.kafka.stop(), this.#dataDir.close()])
    if (this.noDisk === undefined) execFileSync('umount', [this.#storeDir])
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** Mounts a disk small enough to be filled. @returns Why there is none. */
function mountDisk(directory: string): string | undefined {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MB}m`, 'agent-audit-faults', directory], { stdio: 'pipe' })
    return undefined
  } catch (error) {
    return `no tmpfs can be mounted here (root may): ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`
  }
}
