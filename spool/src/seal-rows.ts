/** The rows of a run's seals in its spool's file: tables, statements, and the checksums that say whether a row is as it was written. */
import type { StatementSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { IntegrityError } from '@agent-audit/schemas'
import type { Database } from './database.ts'
import type { ChunkLeaves, RunSeals, SealChain, StoredSeal } from './seals.ts'

/** Seals of one read: about 150 KB. */
const READ_SEALS = 200
const TABLES = ['sealing', 'leaves', 'seal'] as const
const DDL = [
  `CREATE TABLE sealing (
    producer_id TEXT NOT NULL, number INTEGER NOT NULL, next_seq INTEGER NOT NULL, prev BLOB, undelivered TEXT NOT NULL,
    ended INTEGER NOT NULL, checksum INTEGER NOT NULL
  ) STRICT`,
  `CREATE TABLE leaves (first_seq INTEGER PRIMARY KEY, appended_ms INTEGER NOT NULL, leaves BLOB NOT NULL) STRICT`,
  `CREATE TABLE seal (
    number INTEGER PRIMARY KEY, stored_ms INTEGER NOT NULL, note TEXT NOT NULL, checksum INTEGER NOT NULL
  ) STRICT`,
] as const

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
  const insert = db.prepare('INSERT INTO leaves VALUES (?, ?, ?)')
  for (const each of leaves) insert.run(each.firstSeq, Date.now(), packLeaves(each))
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

export function hasSealTables(db: Database): boolean {
  const statement = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sealing'")
  return db.use('read', () => statement.get()) !== undefined
}

export function readChain(db: Database): { producerId: string; chain: SealChain } {
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

export type Statements = Readonly<
  Record<
    'keepLeaves' | 'deleteLeaves' | 'insertSeal' | 'unsent' | 'sizeOfSent' | 'deleteSent' | 'updateChain',
    StatementSync
  >
>

export function compile(db: Database): Statements {
  return {
    keepLeaves: db.prepare(
      `INSERT INTO leaves SELECT first_seq, appended_ms, leaves FROM chunk WHERE id <= ? AND first_seq >= ? AND leaves IS NOT NULL`,
    ),
    deleteLeaves: db.prepare('DELETE FROM leaves WHERE first_seq < ?'),
    insertSeal: db.prepare('INSERT INTO seal VALUES (?, ?, ?, ?)'),
    unsent: db.prepare(`SELECT * FROM seal WHERE number > ? ORDER BY number LIMIT ${READ_SEALS}`),
    sizeOfSent: db.prepare('SELECT coalesce(sum(length(note)), 0) AS bytes FROM seal WHERE number <= ?'),
    deleteSent: db.prepare('DELETE FROM seal WHERE number <= ?'),
    updateChain: db.prepare(
      'UPDATE sealing SET producer_id = ?, number = ?, next_seq = ?, prev = ?, undelivered = ?, ended = ?, checksum = ?',
    ),
  }
}

const LEAF_BYTES = 32
/** Before the leaves: the fingerprint of the schema in 8 bytes, and a checksum in 4. */
const LEAVES_HEAD = 12

export function packLeaves({ firstSeq, schema, leaves }: ChunkLeaves): Uint8Array {
  const packed = Buffer.allocUnsafe(LEAVES_HEAD + leaves.length)
  packed.write(schema, 'hex')
  packed.set(leaves, LEAVES_HEAD)
  packed.writeUInt32LE(leavesChecksum(firstSeq, packed), 8)
  return packed
}

/** Records of so many bytes of packed leaves. */
export function recordsIn(bytes: number): number {
  return (bytes - LEAVES_HEAD) / LEAF_BYTES
}

/** Undefined when they are not as they were written. */
export function unpackLeaves(firstSeq: number, packed: Uint8Array): ChunkLeaves | undefined {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.length)
  const leaves = bytes.subarray(LEAVES_HEAD)
  if (leaves.length === 0 || leaves.length % LEAF_BYTES !== 0) return undefined
  if (bytes.readUInt32LE(8) !== leavesChecksum(firstSeq, bytes)) return undefined
  return { firstSeq, records: leaves.length / LEAF_BYTES, schema: bytes.toString('hex', 0, 8), leaves }
}

function leavesChecksum(firstSeq: number, packed: Buffer): number {
  return crc32(packed.subarray(LEAVES_HEAD), crc32(packed.subarray(0, 8), firstSeq % 2 ** 32))
}

export function chainValues(producerId: string, chain: SealChain): (string | number | Uint8Array | null)[] {
  const { number, nextSeq, prev, undelivered, ended } = chain
  const checksum = chainChecksum(producerId, chain)
  return [producerId, number, nextSeq, prev ?? null, JSON.stringify(undelivered), ended ? 1 : 0, checksum]
}

function chainChecksum(producerId: string, { number, nextSeq, prev, undelivered, ended }: SealChain): number {
  const text = JSON.stringify([producerId, number, nextSeq, undelivered, ended])
  return crc32(prev ?? new Uint8Array(), crc32(text))
}

export function sealChecksum({ number, note }: StoredSeal): number {
  return crc32(note, crc32(`${number}`))
}
