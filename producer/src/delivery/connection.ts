/**
 * Keeps one connected client a topic at a time, and reconnects until it is closed. Each topic has its own client: a topic
 * that is missing on the cluster, or that refuses its records, interrupts no send to another topic.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sender } from '@agent-audit/kafka'
import { AuditUnavailableError } from '@agent-audit/schemas'
import type { KnownTopic } from '@agent-audit/spool'
import type { OneCluster } from './one-cluster.ts'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5000
/** How long a topic must lack a partition until it counts: a broker may be late to hear of partitions that were added. */
const LACK_MS = 10_000
const LACK_POLL_MS = 1000

export interface ConnectionOptions {
  /** Makes a client that is not connected yet. */
  readonly create: (topic: string) => Sender
  readonly oneCluster: OneCluster
  /** A client is connected to the topic. */
  readonly onConnected: (topic: string, known: KnownTopic) => void
  /** A client failed, and another one will be tried. */
  readonly onFailure: (error: unknown, topic: string) => void
  /** Takes an error that no retry is for. */
  readonly fail: (error: unknown) => void
}

/** The pause before the next try: doubled each time, capped, and randomized so that a fleet does not reconnect in step. */
export function backoffMs(failures: number): number {
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 16))
  return pause * (0.5 + Math.random() / 2)
}

export class Connection {
  readonly #topic: string
  readonly #options: ConnectionOptions
  readonly #closing: AbortController = new AbortController()
  #sender: Promise<Sender> | undefined
  #connected = false
  /** The number of partitions last seen, and since when it was the same at each look. */
  #seen = { partitions: 0, sinceMs: 0 }
  #looking: Promise<KnownTopic | undefined> | undefined

  constructor(topic: string, options: ConnectionOptions) {
    this.#topic = topic
    this.#options = options
  }

  get connected(): boolean {
    return this.#connected
  }

  get closed(): boolean {
    return this.#closing.signal.aborted
  }

  /** The connected client, now or as soon as there is one. Rejects only when the connection is closed. */
  sender(): Promise<Sender> {
    this.#sender ??= this.#dial()
    return this.#sender
  }

  async #dial(): Promise<Sender> {
    for (let failures = 0; ; failures++) {
      this.#closing.signal.throwIfAborted()
      const sender = this.#options.create(this.#topic)
      let known: KnownTopic
      try {
        known = await this.#connect(sender)
        this.#closing.signal.throwIfAborted()
      } catch (error) {
        await sender.close()
        this.#closing.signal.throwIfAborted()
        this.#options.onFailure(error, this.#topic)
        await this.pause(failures)
        continue
      }
      this.#connected = true
      this.#saw(known)
      return sender
    }
  }

  #saw(known: KnownTopic): void {
    const { partitions } = known
    if (partitions !== this.#seen.partitions) this.#seen = { partitions, sinceMs: performance.now() }
    this.#options.onConnected(this.#topic, known)
  }

  /** The number of partitions last seen; 0 before the first connect. */
  get partitions(): number {
    return this.#seen.partitions
  }

  /**
   * Whether the topic lacks a partition: its number was too small at each look for {@link LACK_MS}. It may have been made anew.
   * @throws AbortError when the connection is closed meanwhile.
   */
  async lacks(partition: number): Promise<boolean> {
    let certain = true
    while (partition >= this.#seen.partitions) {
      if (certain && performance.now() - this.#seen.sinceMs >= LACK_MS) return true
      await sleep(LACK_POLL_MS, undefined, { signal: this.#closing.signal, ref: false })
      this.#looking ??= this.#look()
      certain = (await this.#looking) !== undefined
    }
    return false
  }

  /** Asks for the number of partitions with a client of its own, which interrupts no send. Undefined without an answer. */
  async #look(): Promise<KnownTopic | undefined> {
    const sender = this.#options.create(this.#topic)
    try {
      const known = await this.#connect(sender)
      if (!this.closed) this.#saw(known)
      return known
    } catch {
      return undefined // The connection itself reports what is wrong.
    } finally {
      this.#looking = undefined
      await sender.close()
    }
  }

  async #connect(sender: Sender): Promise<KnownTopic> {
    const reached = await sender.connect([this.#topic])
    const { cluster } = reached
    this.#options.oneCluster.reach(cluster)
    const partitions = reached.partitions.get(this.#topic)
    if (partitions !== undefined) return { cluster, partitions }
    throw new AuditUnavailableError('BROKER_UNAVAILABLE', `the cluster says nothing about topic ${this.#topic}`)
  }

  /**
   * Discards a client after a rejected send. Closing it rejects the sends of other partitions on the same client; they
   * discard it again, which does nothing.
   * @param error - Reported. Undefined: the caller reports it.
   */
  discard(sender: Sender, current: Promise<Sender>, error?: unknown): void {
    if (this.#sender !== current) return
    this.#sender = undefined
    this.#connected = false
    void sender.close()
    if (error !== undefined) this.#options.onFailure(error, this.#topic)
  }

  /** Waits before a retry. @throws AbortError when the connection is closed meanwhile. */
  pause(failures: number): Promise<void> {
    return sleep(backoffMs(failures), undefined, { signal: this.#closing.signal, ref: false })
  }

  async close(): Promise<void> {
    this.#closing.abort()
    const sender = await this.#sender?.catch(() => undefined)
    await sender?.close()
    this.#connected = false
  }
}

/** The connections of a trail: that of its own topic, and those of the topics of dead runs' spools. */
export class Connections {
  readonly #options: ConnectionOptions
  readonly #byTopic: Map<string, Connection> = new Map<string, Connection>()

  constructor(options: ConnectionOptions) {
    this.#options = options
  }

  /** The connection of a topic; the first call starts to connect. */
  of(topic: string): Connection {
    const present = this.#byTopic.get(topic)
    if (present !== undefined) return present
    const connection = new Connection(topic, this.#options)
    this.#byTopic.set(topic, connection)
    connection.sender().catch((error: unknown) => {
      if (!connection.closed) this.#options.fail(error)
    })
    return connection
  }

  async close(): Promise<void> {
    await Promise.all([...this.#byTopic.values()].map((connection) => connection.close()))
  }
}
