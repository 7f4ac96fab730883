/**
 * Makes the seals of one run. Takes the leaves of its chunks in order, cuts them into segments of whole chunks, names the
 * run_seqs that no record has, signs, and stores each seal before it is sent. Segments are signed one after the other: a seal
 * names the hash of the one before it.
 *
 * A signature may come at once or later. Until it is there, the leaves stay in the store, and the digest of the segment here.
 */
import { createHash } from 'node:crypto'
import {
  formatProducerSeal,
  MAX_SEAL_RANGES,
  noteHash,
  type NoteSigner,
  parseNote,
  parseProducerSeal,
  type Range,
  SignerRefusedError,
  type SealState,
} from '@agent-audit/seals'
import { AuditUnavailableError } from '@agent-audit/schemas'
import type { ChunkLeaves, SealChain, SpoolSeals, UndeliveredRange } from '@agent-audit/spool'
import type { Work } from '../work.ts'
import { OpenSegment, type Segment } from './open-segment.ts'

/** Most records of a seal: the leaves that prove one record beside its seal are 32 KiB. */
const SEAL_RECORDS = 1024
/**
 * Most records of a seal while the one before it waits for its signature: a signer in another process signs once a second, and must
 * keep up with a run. 2 MiB of leaves.
 */
const LATE_RECORDS = 64 * SEAL_RECORDS
/** Longest time from a record to the cut of its segment. */
const SEAL_MS = 1000
/** A run without records says that it is there. */
const HEARTBEAT_MS = 60_000
const RETRY_MS = 1000
/** A refusal stays, unless an operator changes something. */
const REFUSED_MS = 60_000
const NONE = new Uint8Array()
export interface SealedRun {
  readonly topic: string
  readonly producerId: string
  /** 32 hex digits. */
  readonly runId: string
}

export interface SealerOptions {
  readonly run: SealedRun
  readonly store: SpoolSeals
  readonly signer: Pick<NoteSigner, 'sign'>
  /** The run that seals what a dead run has left; undefined: the run itself. */
  readonly adopter?: string | undefined
  readonly work: Work
  /** A seal is stored. */
  readonly onStored: (chain: SealChain) => void
  readonly onProblem: (error: unknown) => void
}

interface CutSegment extends Segment {
  /** Whether the run ends with it. */
  readonly isLast: boolean
}

/** A seal that is to be signed. */
interface Request {
  readonly segment: CutSegment
  readonly named: readonly UndeliveredRange[]
  readonly text: string
}

export class RunSealer {
  readonly #options: SealerOptions
  #store: SpoolSeals
  /** Leaves that are in no segment yet. */
  #open: OpenSegment
  /** Segments without a seal, in order; the first may be signed at this moment. */
  readonly #cut: CutSegment[] = []
  #signing = false
  #ending = false
  #endSeq: number | undefined
  #timer: NodeJS.Timeout | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #retry: NodeJS.Timeout | undefined

  /** Goes on where the store's chain stands, with the leaves that it holds. */
  constructor(options: SealerOptions) {
    this.#options = options
    this.#store = options.store
    this.#open = new OpenSegment(this.#store.chain.nextSeq)
    this.#ending = this.#store.chain.ended
    for (const leaves of this.#store.leaves()) this.add(leaves)
    this.#beat()
  }

  /** The run has another file now: it holds all that the one before it held. */
  use(store: SpoolSeals): void {
    this.#store = store
  }

  get store(): SpoolSeals {
    return this.#store
  }

  /** Whether every record that was added is sealed, and every record that is lost is named. */
  get idle(): boolean {
    return this.#isCut && this.#cut.length === 0 && this.#store.chain.undelivered.length === 0
  }

  /** Whether a seal waits for its signature or for the disk. */
  get waits(): boolean {
    return this.#cut.length > 0
  }

  /** Leaves that are in no segment yet. */
  get open(): readonly ChunkLeaves[] {
    return this.#open.chunks
  }

  /** A chunk is stored, its leaves with it. */
  add(leaves: ChunkLeaves): void {
    const most = this.#signing ? LATE_RECORDS : SEAL_RECORDS
    if (this.#open.isFullFor(leaves, most)) this.cut()
    this.#open.add(leaves)
    if (this.#open.isFull(most)) this.cut()
    else this.#cutLater()
  }

  get #isCut(): boolean {
    return this.#open.chunks.length === 0
  }

  #cutLater(): void {
    const due = (): void => {
      this.#timer = undefined
      // What waits is one seal, not one a second.
      if (this.#signing) this.#cutLater()
      else this.cut()
    }
    this.#timer ??= this.#options.work.later(due, SEAL_MS)
  }

  /** These records will never reach the topic: a later seal names them. Kept in the store before the call returns. */
  undelivered(range: UndeliveredRange): void {
    const { chain } = this.#store
    this.#store.keep({ ...chain, undelivered: [...chain.undelivered, range] })
    this.#cutLater()
  }

  /** Seals what was added. Without records the seal is a heartbeat, or names what is lost. */
  cut(): void {
    this.#cutSegment({ isLast: false })
  }

  /**
   * The run records nothing any more.
   * @param nextSeq - The run_seq after its last. @defaultValue the one after the last record that was added
   */
  end(nextSeq?: number): void {
    const { number, undelivered } = this.#store.chain
    // A chain that has ended goes on for records that turn out never to reach the topic.
    if (this.#ending && (undelivered.length === 0 || this.#cut.length > 0)) return
    this.#ending = true
    this.#endSeq = nextSeq
    clearTimeout(this.#heartbeat)
    const isEmpty = this.#isCut && this.#cut.length === 0 && undelivered.length === 0
    if (isEmpty && number === 0 && (nextSeq ?? 0) <= this.#open.from) return
    this.#cutSegment({ isLast: true, nextSeq })
  }

  #cutSegment({ isLast, nextSeq }: { isLast: boolean; nextSeq?: number | undefined }): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    // After a restart without a spool: where the range begins is known with the next record.
    if (this.#open.from < 0 && nextSeq === undefined) return
    this.#cut.push({ ...this.#open.cut(nextSeq), isLast })
    this.#sign()
  }

  /** Signs the segments that wait, the oldest first, until one has to wait for its signature. */
  #sign(): void {
    for (let segment = this.#cut[0]; segment !== undefined && !this.#signing; segment = this.#cut[0]) {
      this.#signing = true
      const named = this.#toName(segment)
      this.#ask({ segment, named, text: this.#textOf(segment, named) })
    }
  }

  /** Asks with the same text until it is signed: a signer in another process signs each number once. */
  #ask(request: Request): void {
    const { work, onProblem, signer } = this.#options
    const signed = signer.sign(request.text)
    if (typeof signed === 'string') return this.#keep(request, signed)
    const onNote = (note: string): void => {
      this.#keep(request, note)
      this.#sign()
    }
    const onError = (error: unknown): void => {
      const isRefusal = error instanceof SignerRefusedError
      if (isRefusal && error.signed !== undefined && this.#takeSigned(error.signed)) return
      onProblem(error)
      this.#retry = work.later(() => this.#ask(request), isRefusal ? REFUSED_MS : RETRY_MS)
    }
    signed.then(
      (note) => work.run(() => onNote(note)),
      (error: unknown) => work.run(() => onError(error)),
    )
  }

  /**
   * The signer has signed this number before, for a process that died before it had stored the seal: takes that seal, where it
   * continues the chain and has the digest of the leaves, and cuts what is left anew.
   */
  #takeSigned(note: string): boolean {
    const seal = parseProducerSeal(parseNote(note).text)
    const { chain } = this.#store
    const isNext = seal.number === chain.number && seal.first === chain.nextSeq
    if (!isNext || Buffer.compare(seal.prev ?? NONE, chain.prev ?? NONE) !== 0) return false
    const leaves = this.#store.leaves()
    const digest = createHash('sha256')
    for (const each of leaves) if (each.firstSeq <= seal.last) digest.update(each.leaves)
    if (!digest.digest().equals(seal.digest)) return false
    const isNamed = ({ first, last }: Range): boolean =>
      seal.undelivered.some((named) => named.first === first && named.last === last)
    const undelivered = chain.undelivered.filter((range) => !isNamed(range))
    const next = { number: seal.number + 1, nextSeq: seal.last + 1, prev: noteHash(note), undelivered }
    this.#store.seal(note, { ...next, ended: seal.state.kind === 'closed' })
    this.#begin(leaves.filter(({ firstSeq }) => firstSeq > seal.last))
    return true
  }

  /** Cuts the leaves that no seal covers, from where the chain stands. */
  #begin(leaves: readonly ChunkLeaves[]): void {
    const isEnding = this.#ending
    this.#cut.length = 0
    this.#open = new OpenSegment(this.#store.chain.nextSeq)
    this.#signing = false
    this.#ending = this.#store.chain.ended
    for (const each of leaves) this.add(each)
    this.#options.onStored(this.#store.chain)
    if (isEnding && !this.#ending) this.end(this.#endSeq)
  }

  /** Ranges up to the end of the segment, of which the records are sealed then; the oldest first. */
  #toName({ last, gaps }: CutSegment): UndeliveredRange[] {
    const known = this.#store.chain.undelivered.filter((range) => range.last <= last)
    return known.toSorted((one, other) => one.first - other.first).slice(0, MAX_SEAL_RANGES - gaps.length)
  }

  #textOf(segment: CutSegment, undelivered: readonly UndeliveredRange[]): string {
    const { run, adopter } = this.#options
    const { number, prev } = this.#store.chain
    const kind = segment.isLast ? 'closed' : 'open'
    const state: SealState = adopter === undefined ? { kind } : { kind: 'adopted', by: adopter }
    const chained = { number, prev: prev === undefined ? undefined : Buffer.from(prev) }
    return formatProducerSeal({ ...run, ...segment, ...chained, undelivered, time: Date.now(), state })
  }

  /** Stores a signed seal: the same one again, until the disk takes it. */
  #keep(request: Request, note: string): void {
    const { segment, named } = request
    const { work, onProblem, onStored } = this.#options
    const { chain } = this.#store
    const undelivered = chain.undelivered.filter((range) => !named.includes(range))
    const next = { number: chain.number + 1, nextSeq: segment.last + 1, prev: noteHash(note), undelivered }
    try {
      this.#store.seal(note, { ...next, ended: segment.isLast })
    } catch (error) {
      if (!(error instanceof AuditUnavailableError)) throw error
      onProblem(error)
      const again = (): void => {
        this.#keep(request, note)
        this.#sign()
      }
      this.#retry = work.later(again, RETRY_MS)
      return
    }
    this.#cut.shift()
    this.#signing = false
    if (this.#open.isFull(SEAL_RECORDS)) this.cut()
    if (undelivered.length > 0 && !segment.isLast && this.#cut.length === 0) this.#cutLater()
    this.#beat()
    onStored(this.#store.chain)
  }

  #beat(): void {
    clearTimeout(this.#heartbeat)
    if (this.#ending || this.#options.adopter !== undefined) return
    const beat = (): void => (this.#isCut && this.#cut.length === 0 ? this.cut() : this.#beat())
    this.#heartbeat = this.#options.work.later(beat, HEARTBEAT_MS)
  }

  /** Makes no seal any more. */
  stop(): void {
    for (const timer of [this.#timer, this.#heartbeat, this.#retry]) clearTimeout(timer)
  }
}
