/**
 * The seals of a trail: those of its own run, where it has a key, and those that dead runs have left in their spools. Seals of a
 * dead run are sent as they are; what it had not sealed, this run seals under its own key, as adopted.
 *
 * The chain of a run's seals is in one file at a time. A file that follows another one of the same run begins with all that the
 * other one holds, which is then handed over.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { AuditUnavailableError } from '@agent-audit/schemas'
import {
  type AdoptedSpool,
  type Chunk,
  type ChunkLeaves,
  NEW_CHAIN,
  type RunSeals,
  type SealChain,
  type SpoolSeals,
  type StoredSeal,
} from '@agent-audit/spool'
import type { Connections } from '../connection.ts'
import type { Loss, ThreadSettings } from '../protocol.ts'
import type { Work } from '../work.ts'
import { MemorySeals } from './memory-seals.ts'
import { leavesOf } from './open-segment.ts'
import { RunSealer, type SealedRun } from './run-sealer.ts'
import { SealSender } from './seal-sender.ts'
import { openSigner, type Signer } from './signer.ts'

/** Longest wait for the closing seal, at the end of a run. What is not sent by then stays in the spool. */
const CLOSE_MS = 2000
const POLL_MS = 5

export interface SealingOptions {
  readonly settings: ThreadSettings
  readonly connections: Connections
  readonly work: Work
  /** Seals were sent: a file may be empty now. */
  readonly wake: () => void
  /** Where the chain of this run stands. */
  readonly onChain: (chain: SealChain) => void
  readonly onProblem: (error: unknown) => void
}

export class Sealing {
  readonly #options: SealingOptions
  readonly #run: SealedRun
  readonly #signer: Signer | undefined
  readonly sender: SealSender
  /** Undefined: this run has no key, or its chain is in a file that another process has. */
  #own: RunSealer | undefined
  /** Those of dead runs whose chain this run ends. */
  readonly #adopted: Map<SpoolSeals, RunSealer> = new Map<SpoolSeals, RunSealer>()
  /** The chain of this run in the file of a delivery that has failed. */
  #before: SpoolSeals | undefined
  #saidChain = false
  /** Files and runs whose seals cannot be made here. */
  readonly #saidUnsealed: Set<string> = new Set<string>()

  constructor(options: SealingOptions) {
    const { settings, connections, wake, onProblem, work } = options
    const { topic, producerId, runId, signing } = settings
    this.#options = options
    this.#run = { topic, producerId, runId }
    this.#signer = signing === undefined ? undefined : openSigner(signing)
    this.sender = new SealSender({ connections, onProgress: wake, onProblem, fail: work.fail })
  }

  /** What the next file of this run begins with; undefined: the run makes no seals. */
  start(): RunSeals | undefined {
    if (this.#signer === undefined) return undefined
    const store = this.#own?.store ?? this.#before
    const { producerId } = this.#run
    if (store !== undefined) return { producerId, chain: store.chain, leaves: store.leaves() }
    const chain = this.#chainBefore()
    return chain && { producerId, chain, leaves: [] }
  }

  /** Where the chain stands without a file that says it; undefined: in a file that another process has, which ends it there. */
  #chainBefore(): SealChain | undefined {
    const { chain, durability, restarted } = this.#options.settings
    // Leaves and unsent seals are gone with the thread that failed, perhaps before it had said where the chain stands: no seal
    // may call their records a gap.
    if (durability !== 'disk' && restarted) return { ...(chain ?? NEW_CHAIN), nextSeq: -1 }
    if (chain === null) return NEW_CHAIN
    if (!this.#saidUnsealed.has(this.#run.runId)) {
      const message = `run ${this.#run.runId} goes on without seals: the file with its newest seals is damaged, or another process has it`
      this.#options.onProblem(new AuditUnavailableError('SPOOL_UNAVAILABLE', message))
    }
    this.#saidUnsealed.add(this.#run.runId)
    return undefined
  }

  /** The file that was begun with {@link start}. */
  use(spool: AdoptedSpool): void {
    const { seals } = spool
    if (seals === undefined) return
    const before = this.#own?.store ?? this.#before
    this.#take(seals, () => !spool.unbound)
    if (before !== undefined) this.#handOver(before)
    this.#before = undefined
  }

  /** The seals of a run without a spool. */
  useMemory(): void {
    const seals = this.start()
    if (seals !== undefined) this.#take(new MemorySeals(seals), () => true)
  }

  /**
   * The file of this run is to be removed, since the disk is full: its chunks are all acknowledged. What it holds of the chain goes on
   * in memory until there is a next file. A process that is killed before leaves the newest records unsealed; the disk would stay
   * full otherwise.
   * @returns false when seals are to be sent first.
   */
  leaveFile(): boolean {
    const own = this.#own
    if (own === undefined) return true
    const { store } = own
    if (!store.allSent) return false
    const { unsent, ...rest } = readable(store, own.open)
    const seals = new MemorySeals(rest, unsent)
    this.#take(seals, () => true)
    this.#handOver(store)
    this.sender.remove(store)
    return true
  }

  #take(seals: SpoolSeals, ready: () => boolean): void {
    if (this.#own === undefined) this.#own = this.#sealer(this.#run, seals, undefined)
    else this.#own.use(seals)
    const { runId, topic } = this.#run
    this.sender.add({ runId, topic, seals, ready })
  }

  #handOver(before: SpoolSeals): void {
    try {
      before.handedOver()
    } catch (error) {
      // On a full disk: the file is removed as a whole once its seals are sent.
      if (!(error instanceof AuditUnavailableError)) throw error
      this.#options.onProblem(error)
    }
  }

  #sealer(run: SealedRun, store: SpoolSeals, adopter: string | undefined): RunSealer | undefined {
    if (this.#signer === undefined) return undefined
    const { work, onProblem } = this.#options
    const onStored = (chain: SealChain): void => {
      if (adopter === undefined) this.#options.onChain(chain)
      this.sender.wake()
    }
    return new RunSealer({ run, store, signer: this.#signer, adopter, work, onStored, onProblem })
  }

  /** The leaves to be stored with a chunk of this run; undefined: it makes no seals. */
  leavesOf(chunk: Chunk): ChunkLeaves | undefined {
    return this.#own === undefined ? undefined : leavesOf(chunk)
  }

  /** The chunk is stored. */
  added(leaves: ChunkLeaves | undefined): void {
    if (leaves === undefined || this.#own === undefined) return
    this.#own.add(leaves)
    if (this.#saidChain) return
    this.#saidChain = true
    this.#options.onChain(this.#own.store.chain)
  }

  /** Takes the seals in the spool of a dead run, or of a delivery of this run that has failed. */
  adopt(spool: AdoptedSpool): void {
    const { seals, runId, topic } = spool
    if (seals === undefined) return
    if (runId === this.#run.runId && this.#own === undefined && !seals.chain.ended) this.#before = seals
    this.sender.add({ runId, topic, seals, ready: () => !spool.unbound })
  }

  /**
   * Ends the chain of a dead run, all of whose records have an answer.
   * @returns whether the spool can be closed: its seals are sent, or there is no key to make them with.
   * @throws when its seals cannot be read.
   */
  finish(spool: AdoptedSpool): boolean {
    const { seals, runId, topic, file } = spool
    if (seals === undefined) return true
    if (seals === this.#before) return false
    const source = this.sender.of(seals)
    if (source?.failure !== undefined) throw source.failure
    const { ended, undelivered } = seals.chain
    const isOver = ended && undelivered.length === 0
    if (!isOver && !this.#sealerOf(seals, { topic, runId, producerId: seals.producerId })) {
      if (!seals.finished && !this.#saidUnsealed.has(file)) this.#sayUnsealed(spool)
      return this.#leave(seals, seals.allSent)
    }
    this.#adopted.get(seals)?.end()
    return this.#leave(seals, seals.finished)
  }

  #sealerOf(seals: SpoolSeals, run: SealedRun): RunSealer | undefined {
    const present = this.#adopted.get(seals)
    if (present !== undefined) return present
    const sealer = this.#sealer(run, seals, this.#run.runId)
    if (sealer !== undefined) this.#adopted.set(seals, sealer)
    return sealer
  }

  #sayUnsealed({ file, runId }: AdoptedSpool): void {
    this.#saidUnsealed.add(file)
    const message = `left ${file}: run ${runId} sealed its events, and this process has no key to seal the last of them`
    this.#options.onProblem(new AuditUnavailableError('SPOOL_UNAVAILABLE', message))
  }

  #leave(seals: SpoolSeals, done: boolean): boolean {
    if (done) this.left(seals)
    return done
  }

  /** A spool is closed: another owner may have it. */
  left(seals: SpoolSeals | undefined): void {
    if (seals === undefined) return
    this.sender.remove(seals)
    this.#adopted.get(seals)?.stop()
    this.#adopted.delete(seals)
  }

  /**
   * Records of a run never reach the topic.
   * @param spool - Undefined where nothing is stored.
   * @throws when the disk refuses: call it again before they are forgotten.
   */
  undelivered(spool: Pick<AdoptedSpool, 'seals' | 'topic'> | undefined, { runId, first, last, code }: Loss): void {
    if (first === null || last === null) return
    this.#sealerFor(runId, spool)?.undelivered({ first, last, code })
  }

  #sealerFor(runId: string, spool: Pick<AdoptedSpool, 'seals' | 'topic'> | undefined): RunSealer | undefined {
    if (spool === undefined || runId === this.#run.runId) return this.#own
    const { seals, topic } = spool
    return seals && this.#sealerOf(seals, { topic, runId, producerId: seals.producerId })
  }

  /** A damaged spool is set aside: what can be read of its seals goes on from memory. */
  rescue(spool: AdoptedSpool, loss: Loss): void {
    const { seals, topic, runId } = spool
    if (seals === undefined) return
    const own = this.#own?.store === seals ? this.#own : undefined
    this.left(seals)
    const { unsent, ...rest } = readable(seals, own?.open ?? [])
    const rescued = new MemorySeals(rest, unsent)
    if (seals === this.#before) this.#before = rescued
    own?.use(rescued)
    this.sender.add({ runId, topic, seals: rescued, ready: () => !spool.unbound })
    this.undelivered({ topic, seals: rescued }, loss)
    if (runId !== this.#run.runId) this.#sealerFor(runId, { topic, seals: rescued })?.end()
  }

  /**
   * Ends this run's chain with a closing seal, and waits a moment until it is sent.
   * @param nextSeq - The run_seq after the last of the run. Undefined: what became of the last records is open, so the next owner
   * ends the chain.
   */
  async close(nextSeq: number | undefined): Promise<void> {
    const own = this.#own
    if (nextSeq !== undefined) own?.end(nextSeq)
    else if (own?.idle === false) own.cut()
    const deadline = performance.now() + CLOSE_MS
    const waits = (): boolean => own?.waits === true && performance.now() < deadline
    while (waits()) await sleep(POLL_MS)
    await this.sender.flush(deadline - performance.now())
    for (const sealer of [own, ...this.#adopted.values()]) sealer?.stop()
    this.#signer?.close()
  }
}

/** What a damaged file still tells. @param open - Leaves that are in memory. */
function readable(seals: SpoolSeals, open: readonly ChunkLeaves[]): RunSeals & { unsent: StoredSeal[] } {
  const { producerId, chain } = seals
  const leaves = orNone(() => seals.leaves())
  return { producerId, chain, leaves: leaves.length > 0 ? leaves : open, unsent: orNone(() => seals.unsent()) }
}

function orNone<T>(read: () => T[]): T[] {
  try {
    return read()
  } catch {
    return []
  }
}
