/**
 * Stage: one insert for many partitions. An insert has a fixed cost, which few rows do not pay for. So the partition writers hand
 * their pieces over, and what arrives at the same time goes into one block, ordered by log, partition and offset: all or
 * nothing. A piece that is large enough goes alone, beside others.
 *
 * Each piece has a lease of its own, and its writer waits for the outcome: no partition has two pieces under way. The insert
 * carries the earliest lease of its pieces, so that the server refuses it as soon as the next owner of any of them may read
 * the tables, and its query id names all of them, so that each next owner finds it in the process list.
 *
 *   stored     every piece is
 *   unclear    for every piece: each partition recovers by itself, as from another owner
 *   refused    rests, renews the leases, and is sent again as a whole under the same token. A piece whose assignment ends or
 *              drains, or that gets no lease, is left out from then on
 *   bad data   each piece is sent again by itself, and the one at fault is told so
 */
import { randomBytes } from 'node:crypto'
import type { LogPartition } from '@agent-audit/kafka'
import { closeBlock, type EncodedRows } from './block.ts'
import type { Clock } from './clock.ts'
import type { Lease } from './fence.ts'
import type { Pace } from './pace.ts'
import { type InsertAnswer, insertId, type Sink, type Table } from './sink.ts'

/** Rows of one partition for one table. Their memory stays as it is until the outcome is there. */
export interface Piece {
  readonly logPartition: LogPartition
  readonly table: Table
  /** Class and month: ClickHouse keeps each in parts of its own. */
  readonly tablePartition: string
  readonly rows: EncodedRows
  /** Shares no insert: its partition is being searched for bad data. */
  readonly alone: boolean
  /** Returns the partition's lease, renewed where needed. */
  readonly hold: () => Promise<Lease>
  /** Of the assignment. */
  readonly ended: AbortSignal
  readonly draining: AbortSignal
  /** Told of each answer to an insert that leaves this piece out of the table. */
  readonly notInserted: (answer: InsertAnswer) => void
}

/** `stopped`: refused until the assignment ended or drained. A copy that a proxy keeps may store it all the same. */
export type Outcome =
  | { readonly kind: 'stored' | 'unclear' | 'stopped' }
  | { readonly kind: 'bad-data'; readonly reason: string }

export interface SharedInsertsParts {
  readonly sink: Sink
  readonly clock: Clock
  readonly pace: Pace
  /** Of an insert. */
  readonly limits: { readonly maxEvents: number; readonly maxBytes: number }
  /** Told of each insert that was stored. */
  readonly inserted: (table: Table, ms: number, pieces: number) => void
}

interface Waiting {
  readonly piece: Piece
  readonly settle: (outcome: Outcome) => void
  /** The writer gets the error that its lease ended with. */
  readonly fail: (error: unknown) => void
}

interface Group {
  readonly waiting: Waiting[]
  rows: number
  bytes: number
}

/** A piece with this share of the limits goes alone: with 12,500 rows the fixed cost is below half of the whole. */
const ALONE_SHARE = 1 / 4
/** How long a piece waits for those of other partitions, milliseconds: writers that are cut together differ by an answer or two. */
export const GATHER_MS = 50
/** Their names in the query id take 2 KB: of the insert's URL, of which proxies accept 8 KB, and of the answer's head, of which nginx accepts 4 KB. */
const MOST_PIECES = 96
/** Pause before a refused insert is sent again, milliseconds: the first and the longest. */
const REFUSED_PAUSE_MS = { first: 250, longest: 10_000 }

export class SharedInserts {
  readonly pace: Pace
  readonly #parts: SharedInsertsParts
  /** Pieces that wait for others, by table and its partition. */
  readonly #groups = new Map<string, Group>()
  #partitions = 0

  constructor(parts: SharedInsertsParts) {
    this.#parts = parts
    this.pace = parts.pace
  }

  /** Counts a partition in, until its work is done: once a piece of each is here, none is waited for. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#partitions++
    try {
      return await work()
    } finally {
      this.#partitions--
    }
  }

  /** Stores a piece, together with others. The caller MUST hold the lease. @throws as `hold` does */
  insert(piece: Piece): Promise<Outcome> {
    return new Promise((settle, fail) => {
      const waiting = { piece, settle, fail }
      const { maxEvents, maxBytes } = this.#parts.limits
      const { count, bytes } = piece.rows
      const large = count >= maxEvents * ALONE_SHARE || bytes >= maxBytes * ALONE_SHARE
      if (large || piece.alone) this.#start([waiting])
      else this.#gather(waiting)
    })
  }

  #gather(waiting: Waiting): void {
    const { table, tablePartition, rows } = waiting.piece
    const key = `${table} ${tablePartition}`
    const group = this.#groups.get(key) ?? this.#open(key)
    group.waiting.push(waiting)
    group.rows += rows.count
    group.bytes += rows.bytes
    const { maxEvents, maxBytes } = this.#parts.limits
    const pieces = group.waiting.length
    const enough = group.rows >= maxEvents || group.bytes >= maxBytes || pieces >= MOST_PIECES
    if (enough || pieces >= this.#partitions) this.#close(key, group)
  }

  #open(key: string): Group {
    const group: Group = { waiting: [], rows: 0, bytes: 0 }
    this.#groups.set(key, group)
    void this.#parts.clock.sleep(GATHER_MS).then(() => this.#close(key, group))
    return group
  }

  #close(key: string, group: Group): void {
    if (this.#groups.get(key) !== group) return
    this.#groups.delete(key)
    this.#start(group.waiting.toSorted((one, other) => compare(one.piece.logPartition, other.piece.logPartition)))
  }

  #start(waiting: readonly Waiting[]): void {
    this.#send(waiting).catch((error: unknown) => {
      for (const { fail } of waiting) fail(error)
    })
  }

  /** Settles each of them. */
  async #send(all: readonly Waiting[]): Promise<void> {
    // One token for all sends: a proxy may have sent the POST twice, so that one copy is refused and the other lands after all.
    // Without the token the next send would land too. So a refused insert stays whole: pieces under tokens of their own would
    // land beside that copy. It is a secret: an insert with a token that is known already leaves no row.
    const token = randomBytes(16).toString('hex')
    let waiting = all
    for (let pauseMs = REFUSED_PAUSE_MS.first; ; pauseMs = Math.min(pauseMs * 2, REFUSED_PAUSE_MS.longest)) {
      const leased = await holdAll(waiting)
      if (leased.length === 0) return
      waiting = leased
      const answer = await this.#try(leased, token)
      if (answer.kind === 'bad-data' && waiting.length > 1) {
        for (const one of waiting) this.#start([one])
        return
      }
      for (const one of waiting) if (answer.kind !== 'stored') one.piece.notInserted(answer)
      // A refused dead letter has nowhere else to go: it waits until an operator repairs the table.
      const isDeadLetter = waiting.some(({ piece }) => piece.table === 'audit_skipped')
      const again = answer.kind === 'refused' || (answer.kind === 'bad-data' && isDeadLetter)
      if (!again) {
        for (const { settle } of waiting) settle(answer)
        return
      }
      waiting = await this.#rest(waiting, pauseMs)
    }
  }

  async #try(leased: readonly Leased[], token: string): Promise<InsertAnswer> {
    const { sink, clock, pace, inserted } = this.#parts
    const pieces = leased.map(({ piece }) => piece)
    const [first] = pieces
    if (first === undefined) throw new Error('no piece to insert')
    const startedAt = clock.now()
    const answer = await sink.insert({
      table: first.table,
      body: closeBlock(
        first.table,
        pieces.map(({ rows }) => rows),
      ),
      queryId: insertId(pieces.map(({ logPartition }) => logPartition)),
      token,
      fencedAt: Math.min(...leased.map(({ lease }) => lease.fencedAt)),
      deadline: Math.min(...leased.map(({ lease }) => lease.deadline)),
    })
    if (answer.kind === 'stored') {
      inserted(first.table, clock.now() - startedAt, pieces.length)
      pace.noteInsert(clock.now() - startedAt)
    }
    return answer
  }

  /** Waits. @returns those that are still to be sent */
  async #rest(waiting: readonly Waiting[], ms: number): Promise<readonly Waiting[]> {
    const stop = AbortSignal.any(waiting.flatMap(({ piece }) => [piece.ended, piece.draining]))
    await this.#parts.clock.sleep(ms, stop)
    return leaveOut(waiting, ({ ended, draining }) => ended.aborted || draining.aborted)
  }
}

interface Leased extends Waiting {
  readonly lease: Lease
}

/** Leaves out those whose epoch has ended, and those that get no lease. */
async function holdAll(waiting: readonly Waiting[]): Promise<Leased[]> {
  const held = leaveOut(waiting, hasEnded).map(async (one) => {
    try {
      return [{ ...one, lease: await one.piece.hold() }]
    } catch (error) {
      one.fail(error)
      return []
    }
  })
  // While one renewed its lease, the epoch of another may have ended.
  return leaveOut((await Promise.all(held)).flat(), hasEnded)
}

function hasEnded({ ended }: Piece): boolean {
  return ended.aborted
}

/** Settles those that are stopped. @returns the others */
function leaveOut<T extends Waiting>(all: readonly T[], isStopped: (piece: Piece) => boolean): T[] {
  for (const { settle } of all.filter(({ piece }) => isStopped(piece))) settle({ kind: 'stopped' })
  return all.filter(({ piece }) => !isStopped(piece))
}

function compare(one: LogPartition, other: LogPartition): number {
  return Buffer.compare(one.logId, other.logId) || one.partition - other.partition
}
