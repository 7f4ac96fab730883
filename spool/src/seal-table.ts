/**
 * What the sealing of a run leaves in its spool: the leaves of records that no seal covers yet, the seals that are not sent, and
 * where the chain of seals stands. The tables are made for a run that has a signing key; the file of another run has none.
 *
 * The leaves of a chunk are in its row, and outlive it: a chunk that is acknowledged and trimmed before it is sealed leaves them in
 * a table of their own, in the commit that deletes it. Most chunks are sealed first: a second row for each of them would cost a page
 * more. A seal is committed together with the state of the chain, which says what leaves are covered, so that a range is never sealed
 * twice. Covered leaves go with their chunk, or are deleted now and then.
 */
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import type { Database } from './database.ts'
import { freeReserve, takeReserve } from './spool-file.ts'
import {
  chainValues,
  compile,
  hasSealTables,
  readChain,
  recordsIn,
  sealChecksum,
  type Statements,
  unpackLeaves,
} from './seal-rows.ts'
import type { ChunkLeaves, SealChain, SealStatus, SpoolSeals, StoredSeal } from './seals.ts'

/** The leaves of so many seals are deleted together: that costs half of a seal's commit. */
const DELETE_SEALS = 16

/** The seals of a spool's file; undefined when its run makes none. @throws IntegrityError `SPOOL_CORRUPT`. */
export function findSeals(db: Database): SealTable | undefined {
  return hasSealTables(db) ? new SealTable(db) : undefined
}

export class SealTable implements SpoolSeals {
  readonly producerId: string
  chain: SealChain
  #db: Database
  #statements: Statements
  #bytes: number
  /** Bytes of the leaves that no seal covers, by the first run_seq of their chunks, in order: in the chunks, and of trimmed ones. */
  readonly #inChunks: Map<number, number>
  readonly #kept: Map<number, number>
  /** Bytes of leaves of trimmed chunks that are covered. */
  #covered: number
  /** Seals up to this number are acknowledged, whether or not the disk let them be deleted. */
  #sentTo = -1
  #newest: number
  /** Whether the reserve beside the file is there, as far as this process knows. */
  #reserved = false

  constructor(db: Database) {
    this.#db = db
    this.#statements = compile(db)
    const { producerId, chain } = readChain(db)
    this.producerId = producerId
    this.chain = chain
    const open = (table: 'leaves' | 'chunk'): Map<number, number> => {
      const statement = db.prepare(
        `SELECT first_seq, length(leaves) AS bytes FROM ${table} WHERE first_seq >= ? AND leaves IS NOT NULL ORDER BY first_seq`,
      )
      const rows = db.use('read', () => statement.all(chain.nextSeq)) as { first_seq: number; bytes: number }[]
      return new Map(rows.map(({ first_seq: firstSeq, bytes }) => [firstSeq, bytes]))
    }
    this.#inChunks = open('chunk')
    this.#kept = open('leaves')
    const totals = db.prepare(`SELECT (SELECT coalesce(sum(length(leaves)), 0) FROM leaves) AS leaves,
      (SELECT coalesce(sum(length(note)), 0) FROM seal) AS seals, (SELECT coalesce(max(number), -1) FROM seal) AS newest`)
    const { leaves, seals, newest } = db.use('read', () => totals.get()) as Record<
      'leaves' | 'seals' | 'newest',
      number
    >
    this.#covered = leaves - [...this.#kept.values()].reduce((sum, bytes) => sum + bytes, 0)
    this.#bytes = leaves + seals
    this.#newest = newest
  }

  /** The file has moved; the new one has the same rows. */
  moved(db: Database): void {
    this.#db = db
    this.#statements = compile(db)
    this.#reserved = false
  }

  get bytes(): number {
    return this.#bytes
  }

  get allSent(): boolean {
    return this.#newest <= this.#sentTo
  }

  get finished(): boolean {
    const { ended, number, undelivered } = this.chain
    const isCovered = this.#inChunks.size === 0 && this.#kept.size === 0
    return isCovered && this.allSent && (ended || number === 0) && undelivered.length === 0
  }

  /** What waits to be sealed, and to be sent. */
  status(): SealStatus {
    const statement = this.#db.prepare(`SELECT
      (SELECT count(*) FROM seal) AS unsent, (SELECT min(stored_ms) FROM seal) AS oldestUnsentMs,
      min(appended_ms) AS oldestUnsealedMs FROM (
        SELECT appended_ms FROM leaves WHERE first_seq >= $next
        UNION ALL SELECT appended_ms FROM chunk WHERE first_seq >= $next AND leaves IS NOT NULL)`)
    const found = this.#db.use('read', () => statement.get({ next: this.chain.nextSeq })) as unknown
    const unsealed = [...this.#inChunks.values(), ...this.#kept.values()].reduce(
      (sum, each) => sum + recordsIn(each),
      0,
    )
    return { ...(found as Omit<SealStatus, 'unsealed'>), unsealed }
  }

  /** A chunk is stored, with so many bytes of leaves in its row. */
  stored(firstSeq: number, bytes: number): void {
    this.#inChunks.set(firstSeq, bytes)
  }

  /** Deletes chunks up to an id, and keeps the leaves that no seal covers: one commit. @param nextSeq - After the last of them. */
  trim({ upToId, nextSeq, deleteChunks }: { upToId: number; nextSeq: number; deleteChunks: () => void }): void {
    const open = [...upTo(this.#inChunks, nextSeq)]
    if (open.length === 0) return deleteChunks()
    this.#db.transaction('trim', () => {
      this.#statements.keepLeaves.run(upToId, this.chain.nextSeq)
      deleteChunks()
    })
    for (const [firstSeq, bytes] of open) {
      this.#inChunks.delete(firstSeq)
      this.#kept.set(firstSeq, bytes)
      this.#bytes += bytes
    }
  }

  leaves(): ChunkLeaves[] {
    const from = (table: 'leaves' | 'chunk'): ChunkLeaves[] => {
      const statement = this.#db.prepare(
        `SELECT first_seq, leaves FROM ${table} WHERE first_seq >= ? AND leaves IS NOT NULL ORDER BY first_seq`,
      )
      const rows = this.#db.use('read', () => statement.all(this.chain.nextSeq))
      return (rows as { first_seq: number; leaves: Uint8Array }[]).map(({ first_seq: firstSeq, leaves }) => {
        const found = unpackLeaves(firstSeq, leaves)
        if (found !== undefined) return found
        throw this.#damaged(`the leaves from run_seq ${firstSeq} on`)
      })
    }
    // Chunks are trimmed in order.
    return [...from('leaves'), ...from('chunk')]
  }

  seal(note: string, chain: SealChain): void {
    const number = chain.number - 1
    const isDeleting = chain.ended || number % DELETE_SEALS === 0
    this.#write('seal in', () => {
      this.#statements.insertSeal.run(number, Date.now(), note, sealChecksum({ number, note }))
      if (isDeleting) this.#statements.deleteLeaves.run(chain.nextSeq)
      this.#updateChain(chain)
    })
    for (const [firstSeq] of upTo(this.#inChunks, chain.nextSeq)) this.#inChunks.delete(firstSeq)
    for (const [firstSeq, bytes] of upTo(this.#kept, chain.nextSeq)) {
      this.#kept.delete(firstSeq)
      this.#covered += bytes
    }
    if (isDeleting) {
      this.#bytes -= this.#covered
      this.#covered = 0
    }
    this.#bytes += note.length
    this.#newest = number
    this.chain = chain
  }

  keep(chain: SealChain): void {
    this.#write('write to', () => this.#updateChain(chain))
    this.chain = chain
  }

  /**
   * A full disk must not stop the seals: without them the file could not be removed, which would free its space. So the reserve
   * beside the file is given up for one more try, and taken again when there is room.
   */
  #write<Result>(doing: string, work: () => Result): Result {
    const { file } = this.#db
    try {
      return this.#db.transaction(doing, work)
    } catch (error) {
      if (!(error instanceof AuditUnavailableError)) throw error
      freeReserve(file, 'sealing')
      this.#reserved = false
      return this.#db.transaction(doing, work)
    } finally {
      if (!this.#reserved) this.#reserved = keepReserve(file)
    }
  }

  #updateChain(chain: SealChain): void {
    this.#statements.updateChain.run(...chainValues(this.producerId, chain))
  }

  unsent(): StoredSeal[] {
    const { unsent } = this.#statements
    const rows = this.#db.use('read', () => unsent.all(this.#sentTo)) as unknown as (StoredSeal & {
      checksum: number
    })[]
    return rows.map(({ number, note, checksum }) => {
      if (checksum === sealChecksum({ number, note })) return { number, note }
      throw this.#damaged(`seal ${number}`)
    })
  }

  sent(upToNumber: number): void {
    this.#sentTo = Math.max(this.#sentTo, upToNumber)
    const { sizeOfSent, deleteSent } = this.#statements
    const { bytes } = this.#db.use('read', () => sizeOfSent.get(upToNumber)) as { bytes: number }
    this.#db.use('trim', () => deleteSent.run(upToNumber))
    this.#bytes -= bytes
  }

  handedOver(): void {
    // The leaves in its chunks count as covered.
    this.chain = { ...this.chain, nextSeq: Number.MAX_SAFE_INTEGER, undelivered: [], ended: true }
    this.#inChunks.clear()
    this.#kept.clear()
    this.#db.transaction('write to', () => {
      this.#statements.deleteLeaves.run(Number.MAX_SAFE_INTEGER)
      this.#updateChain(this.chain)
    })
    this.#covered = 0
    const { sizeOfSent } = this.#statements
    this.#bytes = (sizeOfSent.get(Number.MAX_SAFE_INTEGER) as { bytes: number }).bytes
  }

  #damaged(what: string): IntegrityError {
    return new IntegrityError('SPOOL_CORRUPT', `${what} in ${this.#db.file} are damaged: the checksum does not match`)
  }
}

function* upTo(leaves: ReadonlyMap<number, number>, nextSeq: number): Generator<[firstSeq: number, bytes: number]> {
  for (const entry of leaves) {
    if (entry[0] >= nextSeq) return
    yield entry
  }
}

/** Beside the file of a run that is sealed. Without room for it the run goes on. @returns whether it is there. */
export function keepReserve(file: string): boolean {
  try {
    takeReserve(file, 'sealing')
    return true
  } catch {
    return false // Taken at the next seal.
  }
}
