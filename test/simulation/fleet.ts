/** The consumers of a simulation: the real code, each in its own simulated process, restarted when it ends. */
import { type Consumer, createConsumer, readSettings, type Settings } from '@agent-audit/consumer'
import { BufferMemory, createRecordCheck } from '@agent-audit/consumer/pipeline'
import { TrailError } from '@agent-audit/schemas'
import { type Logger, pino } from 'pino'
import type { ModelGroup } from './model-group.ts'
import { createModelSender, createModelSigner, type ModelSeals } from './model-seals.ts'
import { createModelSink } from './model-sink.ts'
import { createModelSource, LOG_ID, TOPIC } from './model-source.ts'
import type { ModelStore } from './model-store.ts'
import { Process } from './process.ts'
import type { World } from './world.ts'

interface Instance {
  readonly process: Process
  readonly drain: AbortController
  ended: boolean
}

const GROUP_ID = 'writer'
/** Level of a log line of pino. */
const FATAL = 60

interface LogLine {
  readonly level: number
  readonly partition: number
  readonly code?: string
  readonly msg: string
  readonly first?: number
  readonly last?: number
}

export class Fleet {
  readonly #world: World
  readonly #group: ModelGroup
  readonly #store: ModelStore
  readonly #seals: ModelSeals
  readonly #settings: Settings
  #instances: Instance[] = []
  readonly #drains: AbortController[] = []
  /** Whether a consumer that ends is restarted. */
  #replacing = true

  constructor(world: World, { group, store, seals }: { group: ModelGroup; store: ModelStore; seals: ModelSeals }) {
    this.#world = world
    this.#group = group
    this.#store = store
    this.#seals = seals
    this.#settings = drawSettings(world)
  }

  start(): void {
    const drain = new AbortController()
    const process = new Process(this.#world, `c${this.#drains.push(drain)}`)
    const instance: Instance = { process, drain, ended: false }
    this.#instances.push(instance)
    this.#world.tell(process.name, () => 'starts')
    this.#world.kernel.wake()
    void this.#consumer(process)
      .run(instance.drain.signal)
      .then(
        () => this.#world.tell(process.name, () => 'has ended'),
        (error: unknown) => this.#world.fail(`${process.name} stopped: ${describe(error)}`),
      )
      .finally(() => this.#end(instance))
  }

  kill(): void {
    const instance = this.#pick(() => true)
    if (instance === undefined) return
    this.#world.tell(instance.process.name, () => 'KILLED')
    instance.process.kill()
    this.#end(instance)
  }

  /** Pauses a consumer for longer or shorter than its session. */
  pause(): void {
    const instance = this.#pick(({ process }) => !process.paused)
    if (instance === undefined) return
    const { kernel, random, timing } = this.#world
    const ms = random.between(0, 3 * timing.sessionTimeoutMs)
    this.#world.tell(instance.process.name, () => `paused for ${ms.toFixed(0)} ms`)
    instance.process.pause()
    kernel.after(ms, () => this.#resume(instance))
  }

  drain(): void {
    const instance = this.#pick(({ drain }) => !drain.signal.aborted)
    if (instance === undefined) return
    this.#world.tell(instance.process.name, () => 'asked to drain')
    instance.process.deliver(() => instance.drain.abort())
  }

  /** Asks all consumers to drain, and restarts none. */
  drainAll(): void {
    this.#replacing = false
    for (const { process, drain } of this.#instances) process.deliver(() => drain.abort())
  }

  /** Resumes every paused consumer, and starts one if all of them drain. */
  heal(): void {
    for (const instance of this.#instances) this.#resume(instance)
    if (this.#instances.every(({ drain }) => drain.signal.aborted)) this.start()
  }

  // Node keeps a combined signal with a listener, and all that the listener reaches, until the signal is aborted: a killed
  // process would stay in memory for ever.
  dispose(): void {
    for (const drain of this.#drains) drain.abort()
  }

  get idle(): boolean {
    return this.#instances.length === 0
  }

  #resume({ process }: Instance): void {
    if (!process.paused) return
    this.#world.tell(process.name, () => 'goes on')
    process.resume()
  }

  #pick(which: (instance: Instance) => boolean): Instance | undefined {
    const found = this.#instances.filter(which)
    return found.length === 0 ? undefined : this.#world.random.pick(found)
  }

  #end(instance: Instance): void {
    if (instance.ended) return
    instance.ended = true
    this.#instances = this.#instances.filter((other) => other !== instance)
    const { kernel, random } = this.#world
    if (!this.#replacing) return kernel.wake()
    kernel.after(random.between(0, 2000), () => {
      if (this.#replacing) this.start()
    })
  }

  /** A partition has stopped: an operator looks for forged rows, and anything else is a violation. */
  #log(process: Process): Logger {
    const { kernel, random } = this.#world
    return pino(
      { level: 'info', base: null },
      {
        write: (line: string) => {
          const { level, partition, code, msg, first = 0, last = 0 } = JSON.parse(line) as LogLine
          if (msg.startsWith('seals begin')) this.#seals.begin(partition, first)
          if (msg.includes('without a seal')) this.#seals.giveUp(partition, { first, last })
          if (level < FATAL) return
          const key = `${LOG_ID.toString('hex')}/${partition}`
          const wrong = `${process.name} stopped: ${code}: ${msg.replace('partition stopped: ', '')}`
          const look = (): void => {
            if (process.alive && !this.#store.forgery.repair(key)) this.#world.fail(wrong)
          }
          if (this.#store.forgery.counting(key).length === 0) look()
          else kernel.after(random.between(0, 3000), () => void this.#store.forgery.repair(key))
        },
      },
    )
  }

  #consumer(process: Process): Consumer {
    const parts = { world: this.#world, process }
    return createConsumer(this.#settings, this.#log(process), () => ({
      source: createModelSource({ ...parts, group: this.#group }),
      sink: createModelSink({ ...parts, store: this.#store, groupId: GROUP_ID }),
      clock: process.clock,
      memory: new BufferMemory(this.#settings.BUFFER_MAX_BYTES),
      check: createRecordCheck(undefined),
      seals: {
        signer: createModelSigner(parts),
        createSender: () => createModelSender({ ...parts, seals: this.#seals }),
      },
    }))
  }
}

function drawSettings({ random, timing }: World): Settings {
  return readSettings({
    AUDIT_DATA_DIR: 'not opened: the source is a model',
    AUDIT_TOPICS: TOPIC,
    AUDIT_GROUP_ID: GROUP_ID,
    // A piece of a quarter of these shares no insert: with the small ones most go alone.
    BATCH_MAX_EVENTS: String(random.pick([1, 10, 100, 100])),
    BATCH_MAX_BYTES: String(random.pick([1024, 65_536, 65_536, 65_536])),
    BATCH_MAX_AGE_MS: String(random.pick([1, 50, 300])),
    INSERT_TIMEOUT_MS: String(timing.insertTimeoutMs),
    LEASE_MS: String(timing.leaseMs),
    CLOCK_MARGIN_MS: String(timing.marginMs),
    SESSION_TIMEOUT_MS: String(timing.sessionTimeoutMs),
  })
}

function describe(error: unknown): string {
  if (error instanceof TrailError) return `${error.code}: ${error.message}`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
