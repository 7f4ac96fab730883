/** The consumers under test: two that stay, each with separate proxies to Kafka and ClickHouse, and others that join and leave. */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type CuttingProxy, startCuttingProxy } from '../support/cutting-proxy.ts'
import { endChild, isAlive, startChild } from './child.ts'
import { ROUTES, type Sign, type Step, type Strike } from './consumer-main.ts'
import { until } from '../support/wait.ts'

const STRIKE_TIMEOUT_MS = 15_000
const DRAIN_TIMEOUT_MS = 15_000
const ANSWER_TIMEOUT_MS = 15_000

type Struck = Extract<Sign, { kind: 'struck' }>

/** An insert that was acknowledged. */
export type Stored = Extract<Sign, { kind: 'stored' }> & { readonly member: string }

export interface FleetOptions {
  readonly name: string
  /** Settings of all consumers. */
  readonly settings: Readonly<Record<string, string>>
  readonly clickhousePort: number
  readonly brokerPorts: readonly number[]
  readonly logFile: string
  /** Makes the key of a consumer, in a file. */
  readonly makeKey: (name: string) => string
}

/** One consumer that stays: when its process ends, it is started again. */
export class Member {
  readonly name: string
  readonly toStore: CuttingProxy
  readonly toBrokers: readonly CuttingProxy[]
  readonly #options: FleetOptions
  readonly #keyFile: string
  readonly #onStored: (stored: Stored) => void
  readonly #partitions = new Set<number>()
  #struck: Struck | undefined
  /** Whether the last strike was taken back. */
  #forgotten = false
  #child: ChildProcess | undefined
  #mayEnd = false

  constructor(
    name: string,
    proxies: { toStore: CuttingProxy; toBrokers: readonly CuttingProxy[] },
    { options, onStored }: { options: FleetOptions; onStored: (stored: Stored) => void },
  ) {
    this.name = name
    this.toStore = proxies.toStore
    this.toBrokers = proxies.toBrokers
    this.#options = options
    this.#keyFile = options.makeKey(name)
    this.#onStored = onStored
  }

  /** Partitions it works on. */
  get partitions(): number[] {
    return [...this.#partitions]
  }

  get isAlive(): boolean {
    return this.#child !== undefined && isAlive(this.#child)
  }

  start(): void {
    if (this.isAlive) return
    this.#partitions.clear()
    this.#mayEnd = false
    const { brokerPorts, settings, logFile } = this.#options
    const routes = this.toBrokers.map(({ port }, index) => [brokerPorts[index], port] as const)
    const child = startChild({
      script: 'consumer-main.ts',
      environment: {
        ...settings,
        CLICKHOUSE_URL: `http://127.0.0.1:${this.toStore.port}`,
        AUDIT_SIGNING_KEY_FILE: this.#keyFile,
        [ROUTES]: JSON.stringify(Object.fromEntries(routes)),
      },
      logFile,
    })
    this.#child = child
    if (child.stdout === null) return
    createInterface({ input: child.stdout }).on('line', (line) => {
      const sign = JSON.parse(line) as Sign
      if (sign.kind === 'stored') this.#onStored({ ...sign, member: this.name })
      else if (sign.kind === 'struck') this.#struck = sign
      else if (sign.kind === 'forgotten') this.#forgotten = true
      else if (this.#child !== child) return
      else if (sign.kind === 'claimed') this.#partitions.add(sign.partition)
      else this.#partitions.delete(sign.partition)
    })
  }

  /** @throws Error if it has ended by itself. */
  check(): void {
    if (this.#mayEnd || this.#child === undefined || this.isAlive) return
    const how = this.#child.signalCode ?? `exit code ${this.#child.exitCode}`
    throw new Error(`consumer ${this.name} ended by itself: ${how}; see ${this.#options.logFile}`)
  }

  /**
   * Lets the consumer strike itself at its next such step.
   * @returns The time of the strike and its partitions then; undefined if it did not reach the step in time.
   */
  async strike(strike: Strike): Promise<{ step: Step; at: number; partitions: number[] } | undefined> {
    this.#struck = undefined
    this.#mayEnd = strike.signal === 'SIGKILL'
    const partitions = this.partitions
    this.#child?.send(strike)
    const struck = await until(strike.step, () => this.#struck, { timeoutMs: STRIKE_TIMEOUT_MS }).catch(() =>
      this.#takeBack(),
    )
    if (struck === undefined) {
      this.#mayEnd = false
      return undefined
    }
    if (strike.signal === 'SIGKILL') await until('its end', () => !this.isAlive || undefined)
    return { step: struck.step, at: struck.at, partitions }
  }

  /** Takes the strike back: else it would strike at some later time. @returns The strike if it has happened meanwhile. */
  async #takeBack(): Promise<Struck | undefined> {
    this.#forget()
    await until('the strike taken back', () => this.#forgotten || this.#struck !== undefined || undefined)
    return this.#struck
  }

  #forget(): void {
    this.#forgotten = false
    this.#child?.send('forget')
  }

  /** @throws Error if it is alive and its event loop does not turn. */
  async answers(): Promise<void> {
    if (!this.isAlive) return
    this.#forget()
    const answered = (): true | undefined => this.#forgotten || !this.isAlive || undefined
    await until(`consumer ${this.name} answers`, answered, { timeoutMs: ANSWER_TIMEOUT_MS })
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal)
  }

  async kill(): Promise<void> {
    this.#mayEnd = true
    if (this.#child !== undefined) await endChild(this.#child, 'SIGKILL')
  }

  /** SIGTERM. @throws Error if it does not end in order. */
  async drain(): Promise<void> {
    const child = this.#child
    if (child === undefined || !isAlive(child)) return
    this.#mayEnd = true
    child.kill('SIGTERM')
    await until(`consumer ${this.name} drained`, () => !isAlive(child) || undefined, { timeoutMs: DRAIN_TIMEOUT_MS })
    // By the signal itself when it came before the consumer listened for it: then nothing was begun.
    if (child.exitCode === 0 || child.signalCode === 'SIGTERM') return
    throw new Error(`consumer ${this.name} drained with ${child.signalCode ?? `exit code ${child.exitCode}`}`)
  }
}

export class Fleet {
  readonly members: readonly Member[]
  readonly #options: FleetOptions
  /** Inserts acknowledged since the last {@link forget}. */
  #stored: Stored[] = []

  private constructor(options: FleetOptions, proxies: readonly CuttingProxy[][]) {
    this.#options = options
    this.members = proxies.map(([toStore, ...toBrokers], index) => {
      if (toStore === undefined) throw new Error('no proxy')
      return this.#member(`${'ab'[index]}`, { toStore, toBrokers })
    })
  }

  static async start(options: FleetOptions): Promise<Fleet> {
    const ports = [options.clickhousePort, ...options.brokerPorts]
    const proxies = await Promise.all([1, 2].map(() => Promise.all(ports.map(startCuttingProxy))))
    const fleet = new Fleet(options, proxies)
    for (const member of fleet.members) member.start()
    return fleet
  }

  get stored(): readonly Stored[] {
    return this.#stored
  }

  forget(): void {
    this.#stored = []
  }

  /** A consumer beside the two, not started yet, by way of the same proxies as one of them. */
  guest(name: string): Member {
    const host = this.members[0]
    if (host === undefined) throw new Error('no members')
    return this.#member(name, host)
  }

  /** Ends all of them in order. */
  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.drain()))
    await this.abandon()
  }

  /** Ends all of them at once. */
  async abandon(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()))
    const proxies = this.members.flatMap((member) => [member.toStore, ...member.toBrokers])
    await Promise.all(proxies.map((proxy) => proxy[Symbol.asyncDispose]()))
  }

  #member(name: string, { toStore, toBrokers }: { toStore: CuttingProxy; toBrokers: readonly CuttingProxy[] }): Member {
    const onStored = (stored: Stored): void => void this.#stored.push(stored)
    return new Member(`${this.#options.name} ${name}`, { toStore, toBrokers }, { options: this.#options, onStored })
  }
}
