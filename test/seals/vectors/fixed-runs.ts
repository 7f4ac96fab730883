/** Runs of producers from fixed keys, times and records: what they leave is the same at each call. */
import { createPrivateKey } from 'node:crypto'
import { type SchemaVersion, singleObjectHeader } from '@agent-audit/schemas'
import {
  formatProducerSeal,
  type KeySigner,
  LeafList,
  noteHash,
  type ProducerSeal,
  signerFromPem,
} from '@agent-audit/seals'
import type { TestKey } from '../../support/sealed-runs.ts'
import { privateKeyOf } from './fixed-keys.ts'

export function fixedKey(name: string, byte: number): TestKey {
  const pem = `Key-Name: ${name}\n${createPrivateKey(privateKeyOf(byte)).export({ format: 'pem', type: 'pkcs8' }).toString()}`
  return { pem, verifier: signerFromPem(pem).key }
}

export function fingerprintOf({ fingerprint }: SchemaVersion): string {
  return fingerprint.toString(16).padStart(16, '0')
}

/** The fields of a record that differ from null, 0, false and ''. */
export type Fields = Readonly<Record<string, unknown>>

export interface RunOptions {
  readonly runId: string
  readonly producerId: string
  readonly version: SchemaVersion
  /** Of its first event, milliseconds since 1970. Each next one is a second later. */
  readonly start: number
}

/** A run: its records and the seals over them. */
export class FixedRun {
  /** Messages in single-object encoding. */
  readonly events: Buffer[] = []
  readonly notes: string[] = []
  readonly runId: string
  readonly #options: RunOptions
  readonly #sessionSeqs = new Map<string, number>()
  readonly #gaps: number[] = []
  #list = new LeafList()
  #next = 0
  #sealed = 0

  constructor(options: RunOptions) {
    this.#options = options
    this.runId = options.runId
  }

  add(sessionId: string, eventType: string, fields: Fields = {}): void {
    const { version, producerId, start } = this.#options
    const runSeq = this.#next++
    const sessionSeq = this.#sessionSeqs.get(sessionId) ?? 0
    this.#sessionSeqs.set(sessionId, sessionSeq + 1)
    const named: Fields = {
      run_id: Buffer.from(this.runId, 'hex'),
      run_seq: runSeq,
      producer_id: producerId,
      session_seq: sessionSeq,
      retention_class: 'default',
      event_id: this.eventId(runSeq),
      timestamp: (start + runSeq * 1000) * 1000 + 7,
      event_type: eventType,
      session_id: sessionId,
      agent_id: 'support',
      ...fields,
    }
    const record = Object.fromEntries(
      version.fields.map(({ name, kind, optional }) => [name, named[name] ?? (optional ? null : EMPTY[kind])]),
    )
    const body = Buffer.from(version.avroType.toBuffer(record))
    this.#list.add(body, 0, body.length)
    this.events.push(Buffer.concat([singleObjectHeader(version), body]))
  }

  /** A UUIDv7 of that number. */
  eventId(runSeq: number): string {
    return `01ab2c3d-4e5f-7${this.runId.slice(0, 3)}-8000-${runSeq.toString(16).padStart(12, '0')}`
  }

  /** The next number is of no record. */
  skip(): void {
    this.#gaps.push(this.#next++)
  }

  /** Seals what is not sealed. */
  seal(signer: KeySigner, state: ProducerSeal['state'] = { kind: 'open' }): void {
    const { producerId, version, start } = this.#options
    const gaps = this.#gaps.splice(0).map((number) => ({ first: number, last: number }))
    const before = this.notes.at(-1)
    const seal: ProducerSeal = {
      topic: 'audit.events',
      producerId,
      runId: this.runId,
      number: this.notes.length,
      first: this.#sealed,
      last: this.#next - 1,
      count: this.#list.count,
      schema: fingerprintOf(version),
      digest: this.#list.digest(),
      gaps,
      undelivered: gaps.map((gap) => ({ ...gap, code: 'RECORD_TOO_LARGE' })),
      prev: before === undefined ? undefined : noteHash(before),
      time: start + this.#next * 1000,
      state,
    }
    this.notes.push(signer.sign(formatProducerSeal(seal)))
    this.#sealed = this.#next
    this.#list = new LeafList()
  }
}

const EMPTY: Readonly<Record<string, unknown>> = { long: 0, boolean: false, string: '', double: 0 }
