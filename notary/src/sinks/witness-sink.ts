/**
 * A witness (c2sp.org/tlog-witness): it cosigns a checkpoint only if that is consistent with the one it has cosigned before, so that
 * no one who runs notary and database can show two histories.
 */
import { AuditUnavailableError } from '@agent-audit/schemas'
import { type MerkleTree, parseNote, type VerifierKey, verifyNote } from '@agent-audit/seals'
import { changed, type SignedCheckpoint } from '../seal-tables.ts'
import type { CheckpointSink } from './sink.ts'

export interface WitnessSinkOptions {
  /** Its submission prefix: `add-checkpoint` stands below it. */
  readonly url: string
  /** Of type 0x04: the ones it may sign with. */
  readonly keys: readonly VerifierKey[]
  readonly tree: () => MerkleTree
}

const TIMEOUT_MS = 10_000
const MAX_ANSWER = 65_536

export class WitnessSink implements CheckpointSink {
  readonly name: string
  readonly #options: WitnessSinkOptions
  /** What it has cosigned, as far as known. A wrong guess is corrected by its answer. */
  #size = 0

  constructor(options: WitnessSinkOptions) {
    this.#options = options
    this.name = `witness ${new URL(options.url).host}`
  }

  async put(checkpoint: SignedCheckpoint): Promise<string[]> {
    if (this.#size > checkpoint.size) this.#size = 0
    const first = await this.#add(checkpoint)
    if (first.status !== 409) return this.#cosigned(checkpoint, first)
    const size = /^(0|[1-9]\d{0,15})\n$/.exec(first.body)?.[1]
    if (size === undefined) throw this.#fault(first)
    if (Number(size) > checkpoint.size) {
      const own = `the log has ${checkpoint.size}`
      throw changed(`${this.name} has cosigned ${size} leaves of ${checkpoint.origin}, and ${own}: seals are gone`)
    }
    this.#size = Number(size)
    return this.#cosigned(checkpoint, await this.#add(checkpoint))
  }

  #cosigned(checkpoint: SignedCheckpoint, answer: Answer): string[] {
    if (answer.status === 422 || answer.status === 409) {
      const reason = `${this.name} refuses ${checkpoint.size} leaves of ${checkpoint.origin} as not consistent with the`
      throw changed(`${reason} ${this.#size} leaves that it has cosigned (${answer.status})`)
    }
    if (answer.status !== 200) throw this.#fault(answer)
    const cosigned = checkpoint.note + answer.body
    // Lines that would make another text of the note are no signatures.
    if (parseNote(cosigned).text !== parseNote(checkpoint.note).text) throw this.#fault(answer)
    verifyNote(cosigned, this.#options.keys)
    this.#size = checkpoint.size
    return [answer.body]
  }

  async #add({ note, size }: SignedCheckpoint): Promise<Answer> {
    const proof = this.#options.tree().consistencyProof(this.#size, size)
    const lines = [`old ${this.#size}`, ...proof.map((hash) => hash.toString('base64'))]
    const url = `${this.#options.url.replace(/\/$/, '')}/add-checkpoint`
    try {
      const body = `${lines.join('\n')}\n\n${note}`
      const signal = AbortSignal.timeout(TIMEOUT_MS)
      const response = await fetch(url, { method: 'POST', body, signal, redirect: 'error' })
      return { status: response.status, body: (await response.text()).slice(0, MAX_ANSWER) }
    } catch (error) {
      // fetch says only that it failed; its cause says why.
      const { cause } = error as { cause?: unknown }
      const why = String(cause instanceof Error ? cause.message : error)
      throw new AuditUnavailableError('SINK_UNAVAILABLE', `${this.name} at ${url}: ${why}`, { cause: error })
    }
  }

  #fault({ status, body }: Answer): Error {
    const message = `${this.name} answered ${status} ${JSON.stringify(body.slice(0, 200))}`
    return new AuditUnavailableError('SINK_UNAVAILABLE', message)
  }
}

interface Answer {
  readonly status: number
  readonly body: string
}
