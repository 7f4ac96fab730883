/**
 * What the sealing of a run leaves in its spool: the leaves of records that no seal covers yet, the seals that are not sent, and
 * where the chain of seals stands. The tables are made for a run that has a signing key; the file of another run has none.
 *
 * The leaves of a chunk are committed with the chunk, and outlive it: a chunk that is acknowledged and trimmed can still be
 * sealed, by the next owner as well. A seal is committed together with the removal of the leaves that it covers and with the
 * state of the chain, so that a range is never sealed twice.
 */
import type { StatementSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import type { Database } from './database.ts'
import { freeReserve, SEAL_RESERVE_BYTES, takeReserve } from './spool-file.ts'
import type { ChunkLeaves, RunSeals, SealChain, SpoolSeals, StoredSeal } from './seals.ts'

const TABLES = ['sealing', 'leaves', 'seal'] as const
const DDL = [
  `CREATE TABLE sealing (
    producer_id TEXT NOT NULL, number INTEGER NOT NULL, next_seq INTEGER NOT NULL, prev BLOB, undelivered TEXT NOT NULL,
    ended INTEGER NOT NULL, checksum INTEGER NOT NULL
  ) STRICT`,
  `CREATE TABLE leaves (
    first_seq INTEGER PRIMARY KEY, records INTEGER NOT NULL, schema TEXT NOT NULL, leaves BLOB NOT NULL,
    checksum INTEGER NOT NULL
  ) STRICT`,
  `CREATE TABLE seal (number INTEGER PRIMARY KEY, note TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT`,
] as const
/** Seals of one read: about 150 KB. */
const READ_SEALS = 200
const LEAF_BYTES = 32

interface ChainRow {
  producer_id: string
  number: number
  next_seq: number
  prev: Uint8Array | null
  undelivered: string
  ended: number
  checksum: number
}

/** Makes the tables, inside the caller's transaction. */
export function createSealTables(db: Database, { producerId, chain, leaves }: RunSeals): void {
  for (const statement of DDL) db.prepare(statement).run()
  db.prepare('INSERT INTO sealing VALUES (?, ?, ?, ?, ?, ?, ?)').run(...chainValues(producerId, chain))
  for (const each of leaves) insertLeaves(db, each)
}

/** Copies the tables, where there are any, inside the caller's transaction. */
export function copySealTables(from: Database, to: Database): void {
  if (!hasSealTables(from)) return
  for (const [index, table] of TABLES.entries()) {
    to.prepare(DDL[index] ?? '').run()
    const rows = from.use('read', () => from.prepare(`SELECT * FROM ${table}`).all())
    for (const row of rows) {
      const values = Object.values(row)
      to.prepare(`INSERT INTO ${table} VALUES (${values.map(() => '?').join(', ')})`).run(...values)
    }
  }
}

function hasSealTables(db: Database): boolean {
  const statement = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sealing'")
  return db.use('read', () => statement.get()) !== undefined
}

/** The seals of a spool's file; undefined when its run makes none. @throws IntegrityError `SPOOL_CORRUPT`. */
export function findSeals(db: Database): SealTable | undefined {
  return hasSealTables(db) ? new SealTable(db) : undefined
}

export class SealTable implements SpoolSeals {
  readonly producerId: string
  chain: SealChain
  #db: Database
  #bytes: number
  #leaves: number
  /** Seals up to this number are acknowledged, whether or not the disk let them be deleted. */
  #sentTo = -1
  #newest: number

  constructor(db: Database) {
    this.#db = db
    const { producerId, chain } = readChain(db)
    this.producerId = producerId
    this.chain = chain
    const totals = db.prepare(`SELECT (SELECT count(*) FROM leaves) AS leaves,
      (SELECT coalesce(sum(length(leaves)), 0) FROM leaves) + (SELECT coalesce(sum(length(note)), 0) FROM seal) AS bytes,
      (SELECT coalesce(max(number), -1) FROM seal) AS newest`)
    const { leaves, bytes, newest } = db.use('read', () => totals.get()) as Record<
      'leaves' | 'bytes' | 'newest',
      number
    >
    this.#leaves = leaves
    this.#bytes = bytes
    this.#newest = newest
  }

  /** The file has moved; the new one has the same rows. */
  moved(db: Database): void {
    this.#db = db
  }

  get bytes(): number {
    return this.#bytes
  }

  get allSent(): boolean {
    return this.#newest <= this.#sentTo
  }

  get finished(): boolean {
    const { ended, number, undelivered } = this.chain
    return this.#leaves === 0 && this.allSent && (ended || (number === 0 && undelivered.length === 0))
  }

  /** Inside the transaction of the chunk. {@link counted} follows once it is committed. */
  insert(leaves: ChunkLeaves): void {
    insertLeaves(this.#db, leaves)
  }

  counted({ leaves }: ChunkLeaves): void {
    this.#leaves += 1
    this.#bytes += leaves.length
  }

  leaves(): ChunkLeaves[] {
    const statement = this.#db.prepare('SELECT * FROM leaves ORDER BY first_seq')
    const rows = this.#db.use('read', () => statement.all()) as unknown as {
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
    const covered = this.#db.prepare(
      'SELECT count(*) AS leaves, coalesce(sum(length(leaves)), 0) AS bytes FROM leaves WHERE first_seq < ?',
    )
    const number = chain.number - 1
    const { leaves, bytes } = this.#write('seal in', () => {
      const found = covered.get(chain.nextSeq) as Record<'leaves' | 'bytes', number>
      insertSeal(this.#db, { number, note })
      this.#db.prepare('DELETE FROM leaves WHERE first_seq < ?').run(chain.nextSeq)
      this.#updateChain(chain)
      return found
    })
    this.#leaves -= leaves
    this.#bytes += note.length - bytes
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
      freeReserve(file)
      return this.#db.transaction(doing, work)
    } finally {
      keepReserve(file)
    }
  }

  #updateChain(chain: SealChain): void {
    const update = this.#db.prepare(
      'UPDATE sealing SET producer_id = ?, number = ?, next_seq = ?, prev = ?, undelivered = ?, ended = ?, checksum = ?',
    )
    update.run(...chainValues(this.producerId, chain))
  }

  unsent(): StoredSeal[] {
    const statement = this.#db.prepare(`SELECT * FROM seal WHERE number > ? ORDER BY number LIMIT ${READ_SEALS}`)
    const rows = this.#db.use('read', () => statement.all(this.#sentTo)) as unknown as (StoredSeal & {
      checksum: number
    })[]
    return rows.map(({ number, note, checksum }) => {
      if (checksum === sealChecksum({ number, note })) return { number, note }
      throw this.#damaged(`seal ${number}`)
    })
  }

  sent(upToNumber: number): void {
    this.#sentTo = Math.max(this.#sentTo, upToNumber)
    const size = this.#db.prepare('SELECT coalesce(sum(length(note)), 0) AS bytes FROM seal WHERE number <= ?')
    const { bytes } = this.#db.use('read', () => size.get(upToNumber)) as { bytes: number }
    this.#db.use('trim', () => this.#db.prepare('DELETE FROM seal WHERE number <= ?').run(upToNumber))
    this.#bytes -= bytes
  }

  handedOver(): void {
    this.chain = { ...this.chain, undelivered: [], ended: true }
    this.#leaves = 0
    this.#db.transaction('write to', () => {
      this.#db.prepare('DELETE FROM leaves').run()
      this.#updateChain(this.chain)
    })
    this.#bytes = this.#sizeOfSeals()
  }

  #sizeOfSeals(): number {
    const size = this.#db.prepare('SELECT coalesce(sum(length(note)), 0) AS bytes FROM seal')
    return (this.#db.use('read', () => size.get()) as { bytes: number }).bytes
  }

  #damaged(what: string): IntegrityError {
    return new IntegrityError('SPOOL_CORRUPT', `${what} in ${this.#db.file} are damaged: the checksum does not match`)
  }
}

/** Beside the file of a run that is sealed. Without room for it the run goes on. */
export function keepReserve(file: string): void {
  try {
    takeReserve(file, SEAL_RESERVE_BYTES)
  } catch {
    // Taken at the next seal.
  }
}

function readChain(db: Database): { producerId: string; chain: SealChain } {
  const statement = db.prepare('SELECT * FROM sealing')
  const row = db.use('read', () => statement.get()) as ChainRow | undefined
  if (row === undefined) throw new IntegrityError('SPOOL_CORRUPT', `${db.file} does not say where its seals stand`)
  try {
    const undelivered = JSON.parse(row.undelivered) as SealChain['undelivered']
    const { number, next_seq: nextSeq, prev, ended } = row
    const chain = { number, nextSeq, prev: prev ?? undefined, undelivered, ended: ended === 1 }
    if (row.checksum === chainChecksum(row.producer_id, chain)) return { producerId: row.producer_id, chain }
  } catch {
    // No JSON: damaged as well.
  }
  throw new IntegrityError(
    'SPOOL_CORRUPT',
    `${db.file} says wrongly where its seals stand: the checksum does not match`,
  )
}

function insertLeaves(db: Database, each: ChunkLeaves): void {
  const { firstSeq, records, schema, leaves } = each
  const insert: StatementSync = db.prepare('INSERT INTO leaves VALUES (?, ?, ?, ?, ?)')
  insert.run(firstSeq, records, schema, leaves, leavesChecksum(each))
}

function insertSeal(db: Database, seal: StoredSeal): void {
  db.prepare('INSERT INTO seal VALUES (?, ?, ?)').run(seal.number, seal.note, sealChecksum(seal))
}

function chainValues(producerId: string, chain: SealChain): (string | number | Uint8Array | null)[] {
  const { number, nextSeq, prev, undelivered, ended } = chain
  const checksum = chainChecksum(producerId, chain)
  return [producerId, number, nextSeq, prev ?? null, JSON.stringify(undelivered), ended ? 1 : 0, checksum]
}

function chainChecksum(producerId: string, { number, nextSeq, prev, undelivered, ended }: SealChain): number {
  const text = JSON.stringify([producerId, number, nextSeq, undelivered, ended])
  return crc32(prev ?? new Uint8Array(), crc32(text))
}

function leavesChecksum({ firstSeq, records, schema, leaves }: ChunkLeaves): number {
  return crc32(leaves, crc32(`${firstSeq} ${records} ${schema}`))
}

function sealChecksum({ number, note }: StoredSeal): number {
  return crc32(note, crc32(`${number}`))
}
