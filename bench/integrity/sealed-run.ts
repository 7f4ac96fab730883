/** A run that seals what it records as its producer does: leaves, text and signature of @agent-audit/seals, every 1,024 records. */
import { NEWEST_SCHEMA, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import { formatProducerSeal, type KeySigner, LeafList, noteHash } from '@agent-audit/seals'
import type { Message, Run } from '../support/records.ts'

const SEAL_RECORDS = 1024

export class SealedRun {
  readonly #run: Run
  readonly #topic: string
  readonly #signer: KeySigner
  readonly #leaves = new LeafList()
  #notes: string[] = []
  #number = 0
  #first = 0
  #prev: Buffer | undefined

  /** @param signer - Of the producer, whose producer_id is the name of its key. */
  constructor(run: Run, topic: string, signer: KeySigner) {
    this.#run = run
    this.#topic = topic
    this.#signer = signer
  }

  get id(): string {
    return this.#run.id
  }

  next(): Message {
    const message = this.#run.next()
    this.#leaves.add(message.value, SINGLE_OBJECT_BYTES, message.value.length)
    if (this.#leaves.count === SEAL_RECORDS) this.seal()
    return message
  }

  /** Seals what no seal covers yet. */
  seal(): void {
    const { count } = this.#leaves
    if (count === 0) return
    const text = formatProducerSeal({
      topic: this.#topic,
      producerId: this.#signer.keyName,
      runId: this.id,
      number: this.#number++,
      first: this.#first,
      last: this.#first + count - 1,
      count,
      schema: NEWEST_SCHEMA.fingerprint.toString(16).padStart(16, '0'),
      digest: this.#leaves.digest(),
      gaps: [],
      undelivered: [],
      prev: this.#prev,
      time: Date.now(),
      state: { kind: 'open' },
    })
    const note = this.#signer.sign(text)
    this.#prev = noteHash(note)
    this.#first += count
    this.#leaves.clear()
    this.#notes.push(note)
  }

  takeNotes(): string[] {
    const notes = this.#notes
    this.#notes = []
    return notes
  }
}
