/**
 * What the sealing of a run leaves in its spool: the leaves of records that no seal covers yet, the seals that are not sent, and
 * where the chain of seals stands. The tables are made for a run that has a signing key; the file of another run has none.
 *
 * The leaves of a chunk are committed with the chunk, and outlive it: a chunk that is acknowledged and trimmed can still be
 * sealed, by the next owner as well. A seal is committed together with the state of the chain, which says what leaves are covered,
 * so that a range is never sealed twice. Covered leaves are deleted now and then.
 */
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import type { Database } from './database.ts'
import { freeReserve, takeReserve } from './spool-file.ts'
import {
  chainValues,
  compile,
  hasSealTables,
  leavesChecksum,
  leavesValues,
  readChain,
  sealChecksum,
  type Statements,
} from './seal-rows.ts'
import type { ChunkLeaves, SealChain, SpoolSeals, StoredSeal } from './seals.ts'

const LEAF_BYTES = 32
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
  /** Bytes of the leaves that no seal covers, by the first run_seq of their chunks, in order; and of those that are covered. */
  readonly #open: Map<number, number>
  #covered: number
  /** Seals up to this number are acknowledged, whether or not the disk let them be deleted. */
  #sentTo = -1
  #newest: number

  constructor(db: Database) {
    this.#db = db
    this.#statements = compile(db)
    const { producerId, chain } = readChain(db)
    this.producerId = producerId
    this.chain = chain
    const open = db.prepare(
      'SELECT first_seq AS firstSeq, length(leaves) AS bytes FROM leaves WHERE first_seq >= ? ORDER BY first_seq',
    )
    const rows = db.use('read', () => open.all(chain.nextSeq)) as { firstSeq: number; bytes: number }[]
    this.#open = new Map(rows.map(({ firstSeq, bytes }) => [firstSeq, bytes]))
    const totals = db.prepare(`SELECT (SELECT coalesce(sum(length(leaves)), 0) FROM leaves) AS leaves,
      (SELECT coalesce(sum(length(note)), 0) FROM seal) AS seals, (SELECT coalesce(max(number), -1) FROM seal) AS newest`)
    const { leaves, seals, newest } = db.use('read', () => totals.get()) as Record<
      'leaves' | 'seals' | 'newest',
      number
    >
    this.#covered = leaves - rows.reduce((sum, { bytes }) => sum + bytes, 0)
    this.#bytes = leaves + seals
    this.#newest = newest
  }

  /** The file has moved; the new one has the same rows. */
  moved(db: Database): void {
    this.#db = db
    this.#statements = compile(db)
  }

  get bytes(): number {
    return this.#bytes
  }

  get allSent(): boolean {
    return this.#newest <= this.#sentTo
  }

  get finished(): boolean {
    const { ended, number, undelivered } = this.chain
    return this.#open.size === 0 && this.allSent && (ended || number === 0) && undelivered.length === 0
  }

  /** Inside the transaction of the chunk. {@link counted} follows once it is committed. */
  insert(leaves: ChunkLeaves): void {
    this.#statements.insertLeaves.run(...leavesValues(leaves))
  }

  counted({ firstSeq, leaves }: ChunkLeaves): void {
    this.#open.set(firstSeq, leaves.length)
    this.#bytes += leaves.length
  }

  leaves(): ChunkLeaves[] {
    const statement = this.#db.prepare('SELECT * FROM leaves WHERE first_seq >= ? ORDER BY first_seq')
    const rows = this.#db.use('read', () => statement.all(this.chain.nextSeq)) as unknown as {
      first_seq: number
      records: number
      schema: string
      leaves: Uint8Array
      checksum: number
    }[]
    return rows.map(({ first_seq: firstSeq, records, schema, leaves, checksum }) => {
      const found = { firstSeq, records, schema, leaves }
      if (checksum === leavesChecksum(found) && leaves.length === LEAF_BYTES * records) return found
      throw this.#damaged(`the leaves from run_seq ${firstSeq} on`)
    })
  }

  seal(note: string, chain: SealChain): void {
    const number = chain.number - 1
    const isDeleting = chain.ended || number % DELETE_SEALS === 0
    this.#write('seal in', () => {
      this.#statements.insertSeal.run(number, note, sealChecksum({ number, note }))
      if (isDeleting) this.#statements.deleteLeaves.run(chain.nextSeq)
      this.#updateChain(chain)
    })
    for (const [firstSeq, bytes] of this.#open) {
      if (firstSeq >= chain.nextSeq) break
      this.#open.delete(firstSeq)
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
      return this.#db.transaction(doing, work)
    } finally {
      keepReserve(file)
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
    this.chain = { ...this.chain, undelivered: [], ended: true }
    this.#open.clear()
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

/** Beside the file of a run that is sealed. Without room for it the run goes on. */
export function keepReserve(file: string): void {
  try {
    takeReserve(file, 'sealing')
  } catch {
    // Taken at the next seal.
  }
}
