/** A node of a Kafka: one from the jars, that is, a Java process and its directory. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { javaCommand } from '../processes/java.ts'
import { SupervisedProcess } from '../processes/supervised-process.ts'
import { hasBrokers } from './kafka-probe.ts'
import { type NodeLayout, nodeSettings } from './kafka-properties.ts'
import { addSecuredListeners, type SecuredListener } from './secured-listeners.ts'

const START_TIMEOUT_MS = 60_000
const FORMAT_TIMEOUT_MS = 60_000
const STOP_GRACE_MS = 15_000
const POLL_MS = 50
const JAVA_OPTIONS = ['-Xms256m', '-Xmx768m', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']

/** A broker and controller: a process, or a container. It may be killed, paused and started again. */
export interface KafkaNode {
  readonly id: number
  /** `host:port` for clients; the same over all starts of this object. */
  readonly address: string
  /** Id of the Java process; undefined for a container. */
  readonly pid?: number
  /** The node's directory: its settings, its output (`server.out`), its data; undefined for a container. */
  readonly directory?: string
  /** Starts the node again after {@link kill} or {@link stop}, at the same address, and waits until it answers. */
  start(): Promise<void>
  /** A crash: SIGKILL. */
  kill(): Promise<void>
  /** Holds the node: it keeps its connections and answers no request. */
  pause(): Promise<void>
  resume(): Promise<void>
  /** Ends the node in order, or by SIGKILL after 15 s. */
  stop(): Promise<void>
}

export interface NodeOptions {
  readonly layout: NodeLayout
  /** The node's directory: settings, output, data. */
  readonly directory: string
  readonly allNodes: readonly NodeLayout[]
  readonly properties: Readonly<Record<string, string>>
  readonly secured: readonly SecuredListener[]
  readonly clusterId: string
  readonly libs: string
  /** Whether the node's directory is removed when the node has ended. */
  readonly temporary: boolean
}

export class LocalKafkaNode implements KafkaNode {
  readonly id: number
  readonly address: string
  readonly directory: string
  readonly #options: NodeOptions
  #process: SupervisedProcess | undefined

  constructor(options: NodeOptions) {
    this.#options = options
    this.id = options.layout.id
    this.directory = options.directory
    this.address = options.layout.address
  }

  /** Id of the Java process; 0 before the first start. */
  get pid(): number {
    return this.#process?.pid ?? 0
  }

  /** Writes the settings and, on an empty directory, formats the storage. */
  async prepare(): Promise<void> {
    const { layout, allNodes, properties, secured, clusterId, libs } = this.#options
    await mkdir(this.directory, { recursive: true })
    const settings = nodeSettings(layout, allNodes, properties)
    addSecuredListeners(settings, secured)
    const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}\n`)
    await writeFile(this.#settingsFile, lines.join(''))
    if (existsSync(join(layout.dataDir, 'meta.properties'))) return
    // One id in 64 begins with a dash: as a separate argument, Kafka's tool would parse it as an option.
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
    const { libs, temporary } = this.#options
    this.#process = await SupervisedProcess.start({
      command: javaCommand(),
      args: [...JAVA_OPTIONS, '-cp', join(libs, '*'), 'kafka.Kafka', this.#settingsFile],
      outputFile: join(this.directory, 'server.out'),
      graceMs: STOP_GRACE_MS,
      temporaryDir: temporary ? this.directory : undefined,
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

  async start(): Promise<void> {
    if (this.#process?.isAlive === true) return
    await this.launch()
    await this.ready(1)
  }

  async kill(): Promise<void> {
    await this.#process?.kill()
  }

  pause(): Promise<void> {
    this.#process?.signal('SIGSTOP')
    return Promise.resolve()
  }

  resume(): Promise<void> {
    this.#process?.signal('SIGCONT')
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    await this.#process?.stop()
  }

  get #listening(): string {
    return `127.0.0.1:${this.#options.layout.clientPort}`
  }

  get #settingsFile(): string {
    return join(this.directory, 'server.properties')
  }
}
