/** The rows of a spool's file, and the statements about them, compiled once for each file. Errors are those of `Database.use`. */
import type { StatementSync } from 'node:sqlite'
import { IntegrityError } from '@agent-audit/schemas'
import type { Database } from './database.ts'
import { findSeals } from './seal-table.ts'

export interface ChunkRow {
  id: number
  first_seq: number
  records: number
  checksum: number
  layout: Uint8Array
  bytes: Uint8Array
  /** Of a run that is sealed. */
  leaves?: Uint8Array | undefined
}

/** The one row that describes the run. */
interface RunRow {
  run_id: string
  topic: string
  created_ms: number
  partitions: number | null
  cluster: string | null
}

interface Totals {
  chunks: number
  records: number
  bytes: number
  first_id: number | null
  last_id: number | null
  first_seq: number | null
  next_seq: number | null
}

const TOTALS = `SELECT count(*) AS chunks, coalesce(sum(records), 0) AS records, coalesce(sum(size), 0) AS bytes,
  min(id) AS first_id, max(id) AS last_id, min(first_seq) AS first_seq, max(first_seq + records) AS next_seq FROM chunk`

export class SpoolRows {
  readonly #db: Database
  readonly #insert: StatementSync
  readonly #peek: StatementSync
  readonly #select: StatementSync
  readonly #totalsUpTo: StatementSync
  readonly #deleteUpTo: StatementSync
  readonly #oldest: StatementSync

  constructor(db: Database) {
    this.#db = db
    this.#insert = db.prepare('INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
    this.#peek = db.prepare('SELECT id, size FROM chunk WHERE id > ? ORDER BY id LIMIT 1')
    this.#select = db.prepare('SELECT id, first_seq, records, checksum, layout, bytes FROM chunk WHERE id = ?')
    this.#totalsUpTo = db.prepare(`${TOTALS} WHERE id <= ?`)
    this.#deleteUpTo = db.prepare('DELETE FROM chunk WHERE id <= ?')
    this.#oldest = db.prepare('SELECT appended_ms FROM chunk ORDER BY id LIMIT 1')
  }

  /** @throws IntegrityError `SPOOL_CORRUPT` when the file is not the spool of this run. */
  run(runId: string): RunRow {
    const statement = this.#db.prepare('SELECT run_id, topic, created_ms, partitions, cluster FROM run')
    const run = this.#db.use('read', () => statement.get() as RunRow | undefined)
    if (run?.run_id === runId) return run
    throw new IntegrityError('SPOOL_CORRUPT', `${this.#db.file} belongs to run ${run?.run_id}`)
  }

  totals(upToId: number | bigint): Totals {
    const totals = this.#db.use('read', () => this.#totalsUpTo.get(upToId) as Totals | undefined)
    if (totals === undefined) throw new IntegrityError('SPOOL_CORRUPT', `${this.#db.file} gives no totals`)
    return totals
  }

  /** A single statement is its own transaction. @param size - Bytes of layout, records and leaves. */
  insert(row: ChunkRow, size: number): void {
    const { id, first_seq, records, checksum, layout, bytes, leaves = null } = row
    const now = Date.now()
    this.#db.use('append to', () =>
      this.#insert.run(id, now, first_seq, records, size, checksum, layout, bytes, leaves),
    )
  }

  /** The first chunk with an id above this one. */
  peek(afterId: number): { id: number; size: number } | undefined {
    return this.#db.use('read', () => this.#peek.get(afterId) as { id: number; size: number } | undefined)
  }

  chunk(id: number): ChunkRow | undefined {
    return this.#db.use('read', () => this.#select.get(id) as ChunkRow | undefined)
  }

  deleteUpTo(id: number): void {
    this.#db.use('trim', () => this.#deleteUpTo.run(id))
  }

  /** Takes the newest chunk out again. */
  deleteLast(id: number): void {
    this.#db.use('append to', () => this.#db.prepare('DELETE FROM chunk WHERE id = ?').run(id))
  }

  oldestMs(): number | null {
    const oldest = this.#db.use('read', () => this.#oldest.get() as { appended_ms: number } | undefined)
    return oldest?.appended_ms ?? null
  }

  firstSeqs(): number[] {
    const statement = this.#db.prepare('SELECT first_seq FROM chunk ORDER BY id')
    const rows = this.#db.use('read', () => statement.all() as unknown as { first_seq: number }[])
    return rows.map(({ first_seq }) => first_seq)
  }
}

/**
 * Whether a locked file has no chunks, and no seals that are to be made or sent. Such a file may lack even the row of its run:
 * its owner died before it wrote one.
 * @throws IntegrityError `SPOOL_CORRUPT` when the file is no spool.
 */
export function isEmptySpool(db: Database): boolean {
  if (db.fileBytes() === 0) return true
  const statement = db.prepare('SELECT id FROM chunk LIMIT 1')
  return db.use('read', () => statement.get()) === undefined && findSeals(db)?.finished !== false
}
