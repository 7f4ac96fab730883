/**
 * Signs seals and sends them to the topics of seals, each at least once. A topic that is away, or a signer, holds nothing up: its
 * seals wait here, one a partition at most, and are sent when it is back. Beside them nothing is kept. A signer in another process
 * is asked with the same text until it has signed; a text that it refuses keeps its own partition waiting, and no other.
 */
import type { LogPartition, OutgoingRecord, Sender } from '@agent-audit/kafka'
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import { type NoteSigner, SignerRefusedError } from '@agent-audit/seals'
import type { Clock } from '../clock.ts'

/** A key in this process, or a signer in another one. */
export interface SealSigner extends Pick<NoteSigner, 'sign'> {
  /** Rejects what is asked for. */
  close?(): void
}

export interface SealTopicsParts {
  readonly signer: SealSigner
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
    const closing = [...this.#topics.values()].map((topic) => topic.close())
    this.#parts.signer.close?.()
    await Promise.all(closing)
  }
}

class SealTopic {
  readonly #name: string
  readonly #parts: SealTopicsParts
  readonly #waiting = new Set<Waiting>()
  #sender: Sender | undefined
  #busy = false
  #working = Promise.resolve()
  readonly #closed = new AbortController()

  constructor(name: string, parts: SealTopicsParts) {
    this.#name = name
    this.#parts = parts
  }

  add(seal: Waiting): void {
    this.#waiting.add(seal)
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
        await this.#signAndSend(seals)
        if (failed) observer.sealsGoOn(this.#name)
        failed = false
        pauseMs = PAUSE_MS.first / 2
      } catch (error) {
        failed = true
        observer.sealsWait(this.#name, error)
        await clock.sleep(pauseMs, this.#closed.signal)
      }
    }
  }

  /** Those that wait, without those whose assignment has ended. */
  #take(): Waiting[] {
    const isOver = ({ stop }: Waiting): boolean => stop.aborted || this.#closed.signal.aborted
    for (const seal of this.#waiting) if (isOver(seal)) this.#settle(seal, false)
    return [...this.#waiting]
  }

  #settle(seal: Waiting, sent: boolean): void {
    this.#waiting.delete(seal)
    seal.settle(sent)
  }

  /** @throws what keeps seals waiting. Those that could be signed are sent all the same. */
  async #signAndSend(seals: readonly Waiting[]): Promise<void> {
    const records = new Map<Waiting, OutgoingRecord>()
    let fault: unknown
    for (const seal of seals) {
      try {
        const value = Buffer.from(await this.#parts.signer.sign(seal.text))
        records.set(seal, { key: Buffer.from(seal.key), value, bytes: seal.key.length + value.length })
      } catch (error) {
        fault = error
        if (!(error instanceof SignerRefusedError)) break
      }
    }
    if (records.size > 0) await this.#send([...records.values()])
    for (const seal of records.keys()) this.#settle(seal, true)
    if (fault !== undefined) throw fault
  }

  async #send(records: readonly OutgoingRecord[]): Promise<void> {
    try {
      this.#sender ??= await this.#connect()
      await this.#sender.send({ topic: this.#name, partition: 0 }, records)
    } catch (error) {
      // Whether the topic has them is unknown: the next send repeats them, and equal seals count once.
      await this.#dropSender()
      throw error
    }
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
