/** One node of a local Kafka: a Java process, and its directory. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { javaCommand } from './availability.ts'
import { GuardedProcess } from './guarded-process.ts'
import { hasBrokers } from './kafka-probe.ts'
import { type NodePlace, serverProperties } from './kafka-properties.ts'

const START_TIMEOUT_MS = 60_000
const FORMAT_TIMEOUT_MS = 60_000
const STOP_GRACE_MS = 15_000
const POLL_MS = 50
const JAVA_OPTIONS = ['-Xms256m', '-Xmx768m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']

export interface NodeOptions {
  readonly place: NodePlace
  readonly allPlaces: readonly NodePlace[]
  readonly properties: Readonly<Record<string, string>>
  readonly clusterId: string
  readonly libs: string
  /** Whether the node's directory goes when the node has ended. */
  readonly temporary: boolean
}

/** A broker and controller. Its process may be killed, held and started again. */
export class KafkaNode {
  readonly id: number
  /** `host:port` for clients; the same over all starts of this object. */
  readonly address: string
  /** The node's own directory: its settings, its output (`server.out`), its data. */
  readonly directory: string
  readonly #options: NodeOptions
  #process: GuardedProcess | undefined

  constructor(options: NodeOptions) {
    this.#options = options
    this.id = options.place.id
    this.directory = options.place.dir
    this.address = options.place.address
  }

  /** Id of the Java process; 0 before the first start. */
  get pid(): number {
    return this.#process?.pid ?? 0
  }

  /** Writes the settings and, on an empty directory, the storage's first files. */
  async prepare(): Promise<void> {
    const { place, allPlaces, properties, clusterId, libs } = this.#options
    await mkdir(place.dir, { recursive: true })
    await writeFile(this.#settingsFile, serverProperties(place, allPlaces, properties))
    if (existsSync(join(place.dir, 'data', 'meta.properties'))) return
    // One id in 64 begins with a dash: as an argument of its own it would be taken for an option.
    const format = ['kafka.tools.StorageTool', 'format', `--cluster-id=${clusterId}`, '-c', this.#settingsFile]
    const args = ['-Xmx128m', '-XX:TieredStopAtLevel=1', '-cp', join(libs, '*'), ...format]
    try {
      await promisify(execFile)(javaCommand(), args, { timeout: FORMAT_TIMEOUT_MS })
    } catch (error) {
      const said = String((error as { stderr?: string }).stderr ?? error).trim()
      throw new AuditUnavailableError('PART_UNAVAILABLE', `Kafka's storage could not be made: ${said}`, {
        cause: error,
      })
    }
  }

  /** Starts the process, without waiting for it to answer. */
  async launch(): Promise<void> {
    const { place, libs, temporary } = this.#options
    this.#process = await GuardedProcess.start({
      command: javaCommand(),
      args: [...JAVA_OPTIONS, '-cp', join(libs, '*'), 'kafka.Kafka', this.#settingsFile],
      outputFile: join(place.dir, 'server.out'),
      graceMs: STOP_GRACE_MS,
      temporaryDir: temporary ? place.dir : undefined,
    })
  }

  /** Waits until this node answers and knows of `count` brokers. */
  async ready(count: number): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS
    while (!(await hasBrokers(this.#listening, { advertised: this.address, count }))) {
      const alive = this.#process?.isAlive === true
      if (alive && Date.now() < deadline) {
        await sleep(POLL_MS)
        continue
      }
      const what = alive ? `did not answer within ${START_TIMEOUT_MS / 1000} s` : 'ended at its start'
      const said = this.#process?.lastLines() ?? ''
      throw new AuditUnavailableError('PART_UNAVAILABLE', `Kafka node ${this.id} at ${this.address} ${what}:\n${said}`)
    }
  }

  /** Starts the node again after {@link kill}, at the same address, and waits until it answers. */
  async start(): Promise<void> {
    if (this.#process?.isAlive === true) return
    await this.launch()
    await this.ready(1)
  }

  /** A crash: SIGKILL. */
  async kill(): Promise<void> {
    await this.#process?.kill()
  }

  /** Holds the process still (SIGSTOP): it keeps its connections and answers nothing. */
  pause(): void {
    this.#process?.signal('SIGSTOP')
  }

  /** Lets a held process go on (SIGCONT). */
  resume(): void {
    this.#process?.signal('SIGCONT')
  }

  /** Ends the process in order, or by SIGKILL after 15 s. */
  async stop(): Promise<void> {
    await this.#process?.stop()
  }

  get #listening(): string {
    return `127.0.0.1:${this.#options.place.clientPort}`
  }

  get #settingsFile(): string {
    return join(this.#options.place.dir, 'server.properties')
  }
}
