/** Keeps a seal log for as long as its partition is assigned: reads, stores, signs, and hands out what it signed. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Assignment } from '@agent-audit/kafka'
import { type IntegrityError, TrailError } from '@agent-audit/schemas'
import { MerkleTree, signCheckpoint } from '@agent-audit/seals'
import { Gathering } from './gathering.ts'
import { isLeaf } from './leaf.ts'
import type { NotaryOptions } from './notary-options.ts'
import { anchorOf, type Anchor, SealLog } from './seal-log.ts'
import { changed, type SealTables, type SignedCheckpoint } from './seal-tables.ts'
import { type CheckpointSink, Delivery } from './sinks/sink.ts'

/** From the first leaf that is not stored to the insert, milliseconds. Insert and signature have the rest of a second. */
const GATHER_MS = 300
/** Pauses after a failure, milliseconds. */
const PAUSE_MS = { first: 250, longest: 10_000 }
/** Checkpoints of the tables that are looked at. */
const STORED_CHECKPOINTS = 4

export class LogKeeper {
  readonly #assignment: Assignment
  readonly #tables: SealTables
  readonly #options: NotaryOptions
  readonly #origin: string
  readonly #over = new AbortController()
  readonly #deliveries: Delivery[] = []
  #failure: unknown
  #log: SealLog | undefined
  /** Signed by this process. */
  #newest: SignedCheckpoint | undefined

  constructor(assignment: Assignment, tables: SealTables, options: NotaryOptions) {
    this.#assignment = assignment
    this.#tables = tables
    this.#options = options
    this.#origin = options.origin ?? `agent-audit/${tables.logId}`
  }

  async run(drain: AbortSignal): Promise<void> {
    const { observer, createSinks } = this.#options
    const position = await this.#assignment.position()
    const sinks = createSinks({ tables: this.#tables, tree: () => this.#log?.tree ?? new MerkleTree() })
    const deliveries = sinks.map((sink) => this.#delivery(sink))
    this.#deliveries.push(...deliveries)
    try {
      const log = (this.#log = await SealLog.open(this.#tables, await this.#anchors()))
      const from = log.readFrom(position)
      observer.began({ origin: this.#origin, size: log.tree.size })
      const stop = AbortSignal.any([drain, this.#assignment.ended, this.#assignment.draining, this.#over.signal])
      await this.#work(log, { from, end: position.end, stop })
    } finally {
      this.#over.abort()
      await Promise.allSettled(deliveries.map((delivery) => delivery.close()))
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  #delivery(sink: CheckpointSink): Delivery {
    return new Delivery(sink, {
      observer: this.#options.observer,
      cosigned: (checkpoint) => this.#tables.insertCheckpoint(checkpoint),
      compare: (notes) => this.#log?.expect(this.#anchor(notes, sink.name)),
      contradicted: (error) => this.#fail(error),
    })
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    this.#over.abort()
  }

  /** The newest checkpoints of the tables, and of the sinks that can be read: at least one of these, if there is any. */
  async #anchors(): Promise<Anchor[]> {
    const stored = this.#anchor(await this.#tables.checkpoints(STORED_CHECKPOINTS), 'table audit_checkpoints')
    const [anchors, faults]: [(Anchor | undefined)[], TrailError[]] = [[stored], []]
    let read = 0
    for (const delivery of this.#deliveries) {
      const answer = await delivery.read()
      if (answer === undefined) continue
      // Wrong settings, or a log that was changed: to go on would not mend it.
      if (answer instanceof TrailError && !answer.retryable) throw answer
      if (answer instanceof TrailError) faults.push(answer)
      else {
        read += 1
        anchors.push(this.#anchor(answer, delivery.name))
      }
    }
    // One that is away is compared with before its first delivery.
    if (read === 0 && faults[0] !== undefined) throw faults[0]
    return anchors.filter((anchor) => anchor !== undefined)
  }

  #anchor(notes: readonly string[], where: string): Anchor | undefined {
    const { signer, otherKeys = [] } = this.#options
    return anchorOf(notes, { where, origin: this.#origin, keys: [signer.key, ...otherKeys] })
  }

  /** Reads and stores side by side, each waiting for the other where it must. */
  async #work(log: SealLog, { from, end, stop }: { from: number; end: number; stop: AbortSignal }): Promise<void> {
    const gathering = new Gathering()
    const reading = this.#read(log, { from, stop, gathering })
      .catch((error: unknown) => this.#fail(error))
      .finally(() => gathering.close())
    const storing = this.#store(log, { end, stop, gathering }).catch((error: unknown) => {
      this.#fail(error)
      gathering.close()
    })
    await Promise.all([reading, storing])
  }

  async #read(log: SealLog, work: { from: number; stop: AbortSignal; gathering: Gathering }): Promise<void> {
    const { from, stop, gathering } = work
    gathering.reached(from)
    for await (const { records, nextOffset } of this.#assignment.read(from, stop)) {
      for (const { offset, value } of records) {
        const leaf = log.take({ offset, value })
        if (leaf !== undefined) gathering.add(leaf)
        else if (!isLeaf(value)) this.#options.observer.notALeaf(offset)
      }
      gathering.reached(nextOffset)
      await gathering.room(stop)
    }
  }

  async #store(log: SealLog, work: { end: number; stop: AbortSignal; gathering: Gathering }): Promise<void> {
    const { end, stop, gathering } = work
    while (!stop.aborted) {
      // Before that, the topic may still show that it is another one.
      const hasReadAll = gathering.next >= end
      const [open] = log.open
      if (hasReadAll && open === undefined) await this.#sign(log, stop)
      else if (hasReadAll && open !== undefined && gathering.isEmpty) throw rolledBack(open, log.tree.size)
      if (gathering.closed) return
      await gathering.ready(stop, { gatherMs: GATHER_MS, end })
      const leaves = gathering.take()
      if (leaves.length === 0 || stop.aborted) continue
      await this.#persist(() => this.#tables.insertLeaves(leaves), stop)
      if (stop.aborted) return
      log.stored(leaves)
      this.#options.observer.stored(leaves)
    }
  }

  async #sign(log: SealLog, stop: AbortSignal): Promise<void> {
    const { size } = log.tree
    if (size === 0 || size === this.#newest?.size) return
    const seconds = Math.floor(Date.now() / 1000)
    const checkpoint = { origin: this.#origin, size, root: log.tree.root() }
    const signed = { ...checkpoint, seconds, note: signCheckpoint(this.#options.signer, checkpoint, seconds) }
    await this.#persist(() => this.#tables.insertCheckpoint(signed), stop)
    if (stop.aborted) return
    this.#newest = signed
    this.#options.observer.signed(signed)
    for (const delivery of this.#deliveries) delivery.offer(signed)
  }

  /** The very same rows again and again: which try has stored them does not matter. */
  async #persist(insert: () => Promise<void>, stop: AbortSignal): Promise<void> {
    for (let pauseMs = PAUSE_MS.first; !stop.aborted; pauseMs = Math.min(2 * pauseMs, PAUSE_MS.longest)) {
      try {
        return await insert()
      } catch (error) {
        if (!(error instanceof TrailError && error.retryable)) throw error
        this.#options.observer.problem(error)
        await sleep(pauseMs, undefined, { signal: stop }).catch(() => undefined)
      }
    }
  }
}

function rolledBack({ where, size }: Anchor, own: number): IntegrityError {
  const found = `tables and topic have ${own} leaves`
  return changed(
    `${where} has a checkpoint of ${size} leaves, and ${found}: seals are gone, or the log was rolled back`,
  )
}
