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
  LeafList,
  MAX_SEAL_RANGES,
  noteHash,
  type NoteSigner,
  type Range,
  type SealState,
} from '@agent-audit/seals'
import { AuditUnavailableError, NEWEST_SCHEMA, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import type { Chunk, ChunkLeaves, SealChain, SpoolSeals, UndeliveredRange } from '@agent-audit/spool'
import type { Work } from '../work.ts'

/** Most records of a seal: the leaves that prove one record beside its seal are 32 KiB. */
const SEAL_RECORDS = 1024
/** Longest time from a record to the cut of its segment. */
const SEAL_MS = 1000
/** A run without records says that it is there. */
const HEARTBEAT_MS = 60_000
const RETRY_MS = 1000
/** Half of what a seal may name: the other half is for records that never reach the topic. */
const MOST_RANGES = MAX_SEAL_RANGES / 2
const NEWEST = NEWEST_SCHEMA.fingerprint.toString(16).padStart(16, '0')

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

/** Records that one seal covers. */
interface Segment extends Range {
  readonly count: number
  readonly schema: string
  readonly digest: Buffer
  readonly gaps: readonly Range[]
  /** Whether the run ends with it. */
  readonly isLast: boolean
}

/** A seal that is to be signed. */
interface Request {
  readonly segment: Segment
  readonly named: readonly UndeliveredRange[]
  readonly text: string
}

/** The leaves of a chunk: of each record's Avro body, without the framing, which differs between logs. */
export function leavesOf({ bytes, ends, firstSeq }: Chunk): ChunkLeaves {
  LEAVES.clear()
  let start = 0
  for (const end of ends) {
    LEAVES.add(bytes, start + SINGLE_OBJECT_BYTES, end)
    start = end
  }
  return { firstSeq, records: ends.length, schema: schemaOf(bytes), leaves: LEAVES.leaves() }
}

/** One for all chunks of the thread: its buffers are used again. */
const LEAVES = new LeafList()

/** A run writes all its records with one schema, which the framing of the first one names. */
function schemaOf(bytes: Uint8Array): string {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, SINGLE_OBJECT_BYTES)
  return view.readBigUInt64LE(2).toString(16).padStart(16, '0')
}

export class RunSealer {
  readonly #options: SealerOptions
  #store: SpoolSeals
  /** The first run_seq after those of the segments that are cut; below 0: that of the next record. */
  #from: number
  /** Leaves that are not in a segment yet, and how many records and gaps they have. */
  #open: ChunkLeaves[] = []
  #records = 0
  #gaps = 0
  /** Segments without a seal, in order; the first may be signed at this moment. */
  readonly #cut: Segment[] = []
  #signing = false
  #ending = false
  #timer: NodeJS.Timeout | undefined
  #heartbeat: NodeJS.Timeout | undefined
  #retry: NodeJS.Timeout | undefined

  /** Goes on where the store's chain stands, with the leaves that it holds. */
  constructor(options: SealerOptions) {
    this.#options = options
    this.#store = options.store
    this.#from = this.#store.chain.nextSeq
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
    return this.#open.length === 0 && this.#cut.length === 0 && this.#store.chain.undelivered.length === 0
  }

  /** Whether a seal waits for its signature or for the disk. */
  get waits(): boolean {
    return this.#cut.length > 0
  }

  /** Leaves that are in no segment yet. */
  get open(): readonly ChunkLeaves[] {
    return this.#open
  }

  /** A chunk is stored, its leaves with it. */
  add(leaves: ChunkLeaves): void {
    const { records, firstSeq, schema } = leaves
    const previous = this.#open.at(-1)
    if (this.#records + records > SEAL_RECORDS || (previous !== undefined && previous.schema !== schema)) this.cut()
    if (this.#from < 0) this.#from = firstSeq
    const expected = this.#nextSeq
    if (firstSeq < expected) throw new Error(`run_seq ${firstSeq} is sealed already, next is ${expected}`)
    if (firstSeq > expected) this.#gaps++
    this.#open.push(leaves)
    this.#records += records
    if (this.#records === SEAL_RECORDS || this.#gaps >= MOST_RANGES) this.cut()
    else this.#cutLater()
  }

  get #nextSeq(): number {
    const newest = this.#open.at(-1)
    return newest === undefined ? this.#from : newest.firstSeq + newest.records
  }

  #cutLater(): void {
    this.#timer ??= this.#options.work.later(() => this.cut(), SEAL_MS)
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
    clearTimeout(this.#heartbeat)
    const isEmpty = this.#open.length === 0 && this.#cut.length === 0 && undelivered.length === 0
    if (isEmpty && number === 0 && (nextSeq ?? 0) <= this.#from) return
    this.#cutSegment({ isLast: true, nextSeq })
  }

  #cutSegment({ isLast, nextSeq = 0 }: { isLast: boolean; nextSeq?: number | undefined }): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const first = this.#from < 0 ? nextSeq : this.#from
    const open = this.#open
    const gaps: Range[] = []
    let next = first
    for (const { firstSeq, records } of open) {
      if (firstSeq > next) gaps.push({ first: next, last: firstSeq - 1 })
      next = firstSeq + records
    }
    if (nextSeq > next) gaps.push({ first: next, last: nextSeq - 1 })
    this.#from = Math.max(next, nextSeq)
    this.#open = []
    const count = this.#records
    this.#records = 0
    this.#gaps = 0
    const digest = createHash('sha256')
    for (const { leaves } of open) digest.update(leaves)
    const schema = open[0]?.schema ?? NEWEST
    this.#cut.push({ first, last: this.#from - 1, count, schema, digest: digest.digest(), gaps, isLast })
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
      onProblem(error)
      this.#retry = work.later(() => this.#ask(request), RETRY_MS)
    }
    signed.then(
      (note) => work.run(() => onNote(note)),
      (error: unknown) => work.run(() => onError(error)),
    )
  }

  /** Ranges up to the end of the segment, of which the records are sealed then; the oldest first. */
  #toName({ last, gaps }: Segment): UndeliveredRange[] {
    const known = this.#store.chain.undelivered.filter((range) => range.last <= last)
    return known.toSorted((one, other) => one.first - other.first).slice(0, MAX_SEAL_RANGES - gaps.length)
  }

  #textOf(segment: Segment, undelivered: readonly UndeliveredRange[]): string {
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
    if (undelivered.length > 0 && !segment.isLast && this.#cut.length === 0) this.#cutLater()
    this.#beat()
    onStored(this.#store.chain)
  }

  #beat(): void {
    clearTimeout(this.#heartbeat)
    if (this.#ending || this.#options.adopter !== undefined) return
    const beat = (): void => (this.#open.length === 0 && this.#cut.length === 0 ? this.cut() : this.#beat())
    this.#heartbeat = this.#options.work.later(beat, HEARTBEAT_MS)
  }

  /** Makes no seal any more. */
  stop(): void {
    for (const timer of [this.#timer, this.#heartbeat, this.#retry]) clearTimeout(timer)
  }
}
