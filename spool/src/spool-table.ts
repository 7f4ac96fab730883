/** The table of chunks in a spool's file, the same for the run that writes it and for the one that adopts it. */
import type { StatementSync } from 'node:sqlite'
import { AuditUnavailableError, IntegrityError, InvalidInputError } from '@agent-audit/schemas'
import { checkChunk, chunkChecksum, isUnplaced, packLayout, place, unpackChunk } from './chunk.ts'
import type { Chunk } from './chunk.ts'
import type { Database } from './database.ts'
import type { RunSpool, SpoolStats, StoredChunk } from './run-spool.ts'
import { freeReserve, removeSpool, setAside } from './spool-file.ts'

/** An emptied file larger than this gives its space back. */
const SHRINK_ABOVE_BYTES = 64 * 1024 * 1024

interface ChunkRow {
  id: number
  first_seq: number
  records: number
  checksum: number
  layout: Uint8Array
  bytes: Uint8Array
}

interface RunRow {
  run_id: string
  created_ms: number
  /** Undefined in files of version 1, whose chunks all have their partitions. */
  partitions?: number | null
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

/** Opened on a locked file; shared by the run that owns it and the one that adopts it. */
export class SpoolTable implements RunSpool {
  readonly runId: string
  readonly file: string
  readonly #db: Database
  readonly #maxBytes: number
  readonly #insert: StatementSync
  readonly #peek: StatementSync
  readonly #select: StatementSync
  readonly #totalsUpTo: StatementSync
  readonly #delete: StatementSync
  readonly #oldest: StatementSync
  // Counters of what the file holds: this connection is its only writer.
  #chunks: number
  #records: number
  #bytes: number
  #nextId: number
  #firstSeq: number
  #lastSeq: number
  /** Behind the last one that was tried, stored or not. */
  #nextSeq: number
  /** The chunk whose append ended without a clear answer, the only one whose numbers may come again. */
  #unclear: { firstSeq: number; checksum: number } | undefined
  /** Everything up to here may go, whether or not the disk let it be deleted. */
  #acknowledged = 0
  /** What {@link fixPartitions} was told, by whoever held the file first. */
  #partitions: number | undefined
  /** Never without the number being unknown. */
  #unplaced: boolean
  #closed = false

  constructor(db: Database, runId: string, maxBytes: number) {
    this.runId = runId
    this.file = db.file
    this.#db = db
    this.#maxBytes = maxBytes
    this.#insert = db.prepare('INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
    this.#peek = db.prepare('SELECT id, size FROM chunk WHERE id > ? ORDER BY id LIMIT 1')
    this.#select = db.prepare('SELECT id, first_seq, records, checksum, layout, bytes FROM chunk WHERE id = ?')
    this.#totalsUpTo = db.prepare(`${TOTALS} WHERE id <= ?`)
    this.#delete = db.prepare('DELETE FROM chunk WHERE id <= ?')
    this.#oldest = db.prepare('SELECT appended_ms FROM chunk ORDER BY id LIMIT 1')
    const partitions = this.run?.partitions
    this.#partitions = partitions ?? undefined
    const totals = this.#totals(Number.MAX_SAFE_INTEGER)
    this.#unplaced = totals.chunks > 0 && partitions === null
    this.#chunks = totals.chunks
    this.#records = totals.records
    this.#bytes = totals.bytes
    this.#nextId = (totals.last_id ?? 0) + 1
    this.#firstSeq = totals.first_seq ?? 0
    this.#nextSeq = totals.next_seq ?? 0
    this.#lastSeq = this.#nextSeq - 1
    if (totals.chunks > 0 && this.#nextId - (totals.first_id ?? 0) !== totals.chunks) {
      throw new IntegrityError(
        'SPOOL_CORRUPT',
        `${this.file} holds ${totals.chunks} chunks with ids ${totals.first_id} to ${totals.last_id}`,
      )
    }
  }

  #totals(upToId: number): Totals {
    const totals = this.#db.use('read', () => this.#totalsUpTo.get(upToId) as Totals | undefined)
    if (totals === undefined) throw new IntegrityError('SPOOL_CORRUPT', `${this.file} gives no totals`)
    return totals
  }

  /** What the file says of its run. */
  get run(): RunRow | undefined {
    const statement = this.#db.prepare('SELECT * FROM run')
    return this.#db.use('read', () => statement.get() as RunRow | undefined)
  }

  get unplaced(): boolean {
    return this.#unplaced
  }

  fixPartitions(count: number): void {
    if (!this.#unplaced) return
    if (!Number.isSafeInteger(count) || count < 1) {
      throw new InvalidInputError('OPTIONS_INVALID', `count: expected a whole number from 1, not ${count}`)
    }
    const update = this.#db.prepare('UPDATE run SET partitions = ?')
    freeReserve(this.file)
    // Kept through the loss of power as well, or who comes next might be told another number: records sent once already
    // would go to other partitions, where nobody knows them.
    this.#db.durably('write', () => update.run(count))
    this.#partitions = count
    this.#unplaced = false
  }

  get bytes(): number {
    return this.#bytes
  }

  get runSeqs(): { first: number; last: number } {
    return { first: this.#firstSeq, last: this.#lastSeq }
  }

  append(chunk: Chunk, { keepFreeBytes = 0 }: { readonly keepFreeBytes?: number } = {}): number {
    checkChunk(chunk)
    const layout = packLayout(chunk)
    const id = this.#nextId
    const checksum = chunkChecksum(id, chunk.firstSeq, layout, chunk.bytes)
    this.#checkSeq(chunk.firstSeq, checksum)
    const size = layout.length + chunk.bytes.length
    const limit = this.#maxBytes - keepFreeBytes
    if (this.#bytes + size > limit) {
      const message = `${this.file} holds ${this.#bytes} bytes; ${size} more would pass its limit of ${limit}`
      throw new AuditUnavailableError('SPOOL_FULL', message)
    }
    const count = chunk.ends.length
    if (isUnplaced(chunk) && this.#partitions === undefined) this.#unplaced = true
    try {
      // A statement of its own is a transaction of its own.
      this.#db.use('append to', () =>
        this.#insert.run(id, Date.now(), chunk.firstSeq, count, size, checksum, layout, chunk.bytes),
      )
      this.#unclear = undefined
    } catch (error) {
      this.#unclear = { firstSeq: chunk.firstSeq, checksum }
      throw error
    } finally {
      this.#nextSeq = chunk.firstSeq + count
    }
    this.#lastSeq = this.#nextSeq - 1
    this.#nextId = id + 1
    this.#chunks += 1
    this.#records += count
    this.#bytes += size
    return id
  }

  /** A run_seq that names two records would lose one of them to the duplicate filter downstream. */
  #checkSeq(firstSeq: number, checksum: number): void {
    if (firstSeq >= this.#nextSeq) return
    if (this.#unclear?.firstSeq === firstSeq && this.#unclear.checksum === checksum) return
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      `firstSeq: run_seq ${firstSeq} was used already, next is ${this.#nextSeq}`,
    )
  }

  read(afterId: number, maxBytes: number): StoredChunk[] {
    const found: StoredChunk[] = []
    let bytes = 0
    let lastId = afterId
    try {
      for (;;) {
        const next = this.#db.use('read', () => this.#peek.get(lastId) as { id: number; size: number } | undefined)
        if (next === undefined || (found.length > 0 && bytes + next.size > maxBytes)) return found
        found.push({ id: next.id, chunk: this.#load(next.id) })
        bytes += next.size
        lastId = next.id
      }
    } catch (error) {
      if (found.length > 0 && error instanceof IntegrityError) return found
      throw error
    }
  }

  #load(id: number): Chunk {
    const row = this.#db.use('read', () => this.#select.get(id) as ChunkRow | undefined)
    if (row === undefined) throw this.#damaged(id, 'it is missing')
    if (chunkChecksum(row.id, row.first_seq, row.layout, row.bytes) !== row.checksum) {
      throw this.#damaged(id, 'its checksum does not match')
    }
    const chunk = unpackChunk({ firstSeq: row.first_seq, count: row.records, layout: row.layout, bytes: row.bytes })
    if (chunk === undefined) throw this.#damaged(id, `its layout is not that of ${row.records} records`)
    if (!isUnplaced(chunk)) return chunk
    if (this.#partitions !== undefined) return place(chunk, this.#partitions)
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      `${this.file} holds records without partitions: fix their number first`,
    )
  }

  #damaged(id: number, reason: string): IntegrityError {
    return new IntegrityError('SPOOL_CORRUPT', `chunk ${id} of ${this.file} is damaged: ${reason}`)
  }

  trim(upToId: number): void {
    // Never beyond what there is: a chunk appended later is not acknowledged yet.
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(upToId, this.#nextId - 1))
    const gone = this.#totals(upToId)
    if (gone.chunks === 0) return
    this.#db.use('trim', () => this.#delete.run(upToId))
    this.#chunks -= gone.chunks
    this.#records -= gone.records
    this.#bytes -= gone.bytes
    this.#firstSeq = gone.next_seq ?? this.#firstSeq
    if (this.#chunks === 0) this.#giveSpaceBack()
  }

  #giveSpaceBack(): void {
    try {
      if (this.#db.fileBytes() > SHRINK_ABOVE_BYTES) this.#db.shrink()
    } catch {
      // Only space, tried again when the spool is next empty; the trim itself is committed.
    }
  }

  stats(): SpoolStats {
    const oldest = this.#db.use('read', () => this.#oldest.get() as { appended_ms: number } | undefined)
    return {
      bytes: this.#bytes,
      chunks: this.#chunks,
      records: this.#records,
      oldestMs: oldest?.appended_ms ?? null,
    }
  }

  setAside(): string | undefined {
    this.#closed = true
    return setAside(this.file, this.#db)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      // On a full disk even deleting rows fails, for want of space in the log; removing the file then makes room.
      if (this.#acknowledged >= this.#nextId - 1 || this.#chunks === 0) removeSpool(this.file)
    } finally {
      this.#db.close()
    }
  }
}
