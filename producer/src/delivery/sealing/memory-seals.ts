/** The seals of a run without a file: a trail without a spool, or a spool that is damaged. They are gone with the thread. */
import type { ChunkLeaves, RunSeals, SealChain, SpoolSeals, StoredSeal } from '@agent-audit/spool'

export class MemorySeals implements SpoolSeals {
  readonly producerId: string
  chain: SealChain
  #leaves: readonly ChunkLeaves[]
  #unsent: StoredSeal[]

  constructor({ producerId, chain, leaves }: RunSeals, unsent: readonly StoredSeal[] = []) {
    this.producerId = producerId
    this.chain = chain
    this.#leaves = leaves
    this.#unsent = [...unsent]
  }

  get bytes(): number {
    return this.#unsent.reduce((bytes, { note }) => bytes + note.length, 0)
  }

  get allSent(): boolean {
    return this.#unsent.length === 0
  }

  get finished(): boolean {
    const { ended, number, undelivered } = this.chain
    return this.allSent && (ended || number === 0) && undelivered.length === 0
  }

  /** The leaves that it began with: it takes no others, since no next owner could read them. */
  leaves(): ChunkLeaves[] {
    return this.#leaves.filter(({ firstSeq }) => firstSeq >= this.chain.nextSeq)
  }

  seal(note: string, chain: SealChain): void {
    this.#unsent.push({ number: chain.number - 1, note })
    this.chain = chain
    this.#leaves = this.leaves()
  }

  keep(chain: SealChain): void {
    this.chain = chain
  }

  unsent(): StoredSeal[] {
    return [...this.#unsent]
  }

  sent(upToNumber: number): void {
    this.#unsent = this.#unsent.filter(({ number }) => number > upToNumber)
  }

  handedOver(): void {
    this.#leaves = []
    this.chain = { ...this.chain, ended: true }
  }
}
