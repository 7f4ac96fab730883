/**
 * Signs seals and sends them to the topics of seals, each at least once. A topic that is away, or a signer, holds nothing up: its
 * seals wait here, one a partition at most, and are sent when it is back. Beside them nothing is kept.
 */
import type { LogPartition, OutgoingRecord, Sender } from '@agent-audit/kafka'
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import type { NoteSigner } from '@agent-audit/seals'
import type { Clock } from '../clock.ts'

export interface SealTopicsParts {
  readonly signer: NoteSigner
  readonly createSender: () => Sender
  readonly clock: Clock
  /** Told of each failure to send, and of the first send that succeeds after one. */
  readonly observer: SealTopicsObserver
}

export interface SealTopicsObserver {
  sealsWait(topic: string, error: unknown): void
  sealsGoOn(topic: string): void
}

interface Waiting {
  readonly key: string
  readonly text: string
  readonly stop: AbortSignal
  readonly settle: (sent: boolean) => void
}

/** Pause after a failure, milliseconds: the first and the longest. */
const PAUSE_MS = { first: 250, longest: 10_000 }

export class SealTopics {
  readonly #parts: SealTopicsParts
  readonly #topics = new Map<string, SealTopic>()

  constructor(parts: SealTopicsParts) {
    this.#parts = parts
  }

  /** @returns true once the topic has the seal; false if `stop` was aborted before: the topic may have it, or get it still. */
  send({ topic, partition }: LogPartition, text: string, stop: AbortSignal): Promise<boolean> {
    const name = `${topic}${SEALS_SUFFIX}`
    const sealTopic = this.#topics.get(name) ?? new SealTopic(name, this.#parts)
    this.#topics.set(name, sealTopic)
    return new Promise((settle) => {
      sealTopic.add({ key: `${topic}/${partition}`, text, stop, settle })
    })
  }

  async close(): Promise<void> {
    await Promise.all([...this.#topics.values()].map((topic) => topic.close()))
  }
}

class SealTopic {
  readonly #name: string
  readonly #parts: SealTopicsParts
  readonly #waiting: Waiting[] = []
  #sender: Sender | undefined
  #busy = false
  #working = Promise.resolve()
  readonly #closed = new AbortController()

  constructor(name: string, parts: SealTopicsParts) {
    this.#name = name
    this.#parts = parts
  }

  add(seal: Waiting): void {
    this.#waiting.push(seal)
    if (this.#busy) return
    this.#busy = true
    this.#working = this.#work()
  }

  async close(): Promise<void> {
    this.#closed.abort()
    await this.#working
    await this.#dropSender()
  }

  async #work(): Promise<void> {
    const { clock, observer } = this.#parts
    let failed = false
    for (let pauseMs = PAUSE_MS.first; ; pauseMs = Math.min(pauseMs * 2, PAUSE_MS.longest)) {
      const seals = this.#take()
      if (seals.length === 0) return void (this.#busy = false)
      try {
        await this.#send(seals)
        this.#waiting.splice(0, seals.length)
        for (const { settle } of seals) settle(true)
        if (failed) observer.sealsGoOn(this.#name)
        failed = false
        pauseMs = PAUSE_MS.first / 2
      } catch (error) {
        failed = true
        observer.sealsWait(this.#name, error)
        // Whether the topic has them is unknown: the next send repeats them, and equal seals count once.
        await this.#dropSender()
        await clock.sleep(pauseMs, this.#closed.signal)
      }
    }
  }

  /** Those that wait, without those whose assignment has ended. */
  #take(): Waiting[] {
    const left = this.#waiting.filter(({ stop }) => !stop.aborted && !this.#closed.signal.aborted)
    for (const seal of this.#waiting) if (!left.includes(seal)) seal.settle(false)
    this.#waiting.splice(0, this.#waiting.length, ...left)
    return left
  }

  async #send(seals: readonly Waiting[]): Promise<void> {
    const records: OutgoingRecord[] = []
    for (const { key, text } of seals) {
      const value = Buffer.from(await this.#parts.signer.sign(text))
      records.push({ key: Buffer.from(key), value, bytes: key.length + value.length })
    }
    this.#sender ??= await this.#connect()
    await this.#sender.send({ topic: this.#name, partition: 0 }, records)
  }

  async #connect(): Promise<Sender> {
    const sender = this.#parts.createSender()
    try {
      await sender.connect([this.#name])
      return sender
    } catch (error) {
      await sender.close()
      throw error
    }
  }

  async #dropSender(): Promise<void> {
    const sender = this.#sender
    this.#sender = undefined
    await sender?.close()
  }
}
