/** The chunk table of a spool's file, for the run that writes it and for the run that adopts it. */
import { dirname } from 'node:path'
import { AuditUnavailableError, IntegrityError, InvalidInputError } from '@agent-audit/schemas'
import { assignPartitions, checkChunk, chunkChecksum, isUnassigned, packLayout, unpackChunk } from './chunk.ts'
import type { Chunk } from './chunk.ts'
import type { Database } from './database.ts'
import { checkPartitions, type KnownTopic } from './known-topics.ts'
import { copyToNewFile } from './new-file.ts'
import { FilePlace, freeReserve, removeSpool, setAside } from './spool-file.ts'
import type { AppendOptions, RunSpool, SpoolStats, StoredChunk } from './spool.ts'
import { packLeaves } from './seal-rows.ts'
import { findSeals, type SealTable } from './seal-table.ts'
import { type ChunkRow, SpoolRows } from './spool-rows.ts'

/** An emptied file larger than this gives its space back. */
const SHRINK_ABOVE_BYTES = 64 * 1024 * 1024

interface TableOptions {
  /** Whether it is a new run's: {@link AdoptedSpool.unbound}, whatever the file says. */
  readonly unbound?: boolean
  readonly fsync?: boolean
}

/** Opened on a locked file that is not empty. */
export class SpoolTable implements RunSpool {
  readonly runId: string
  readonly topic: string
  cluster: string | undefined
  /** When the run began, milliseconds since 1970. */
  readonly createdMs: number
  readonly #maxBytes: number
  readonly #fsync: boolean
  readonly seals: SealTable | undefined
  #db: Database
  #rows: SpoolRows
  #place: FilePlace
  // Counters of the file's content: this connection is its only writer.
  #chunks: number
  #records: number
  #bytes: number
  #nextId: number
  #firstSeq: number
  #lastSeq: number
  /** After the last one that was tried, stored or not. */
  #nextSeq: number
  /** The chunk whose append ended without a clear answer: the only one whose run_seqs may be used again. */
  #unclear: { firstSeq: number; checksum: number } | undefined
  /** Chunks up to this id are acknowledged, whether or not the disk let them be deleted. */
  #acknowledged = 0
  /** The number of partitions that the first owner to know it has set. */
  #partitions: number | undefined
  /** Of an adopted file: whether it names no cluster. */
  #unbound: boolean
  /** A chunk was refused because the file was not in its place. */
  #displaced = false
  #closed = false

  /** @throws IntegrityError `SPOOL_CORRUPT` when the file is not the spool of this run, or chunks are missing. */
  constructor(db: Database, runId: string, maxBytes: number, options: TableOptions = {}) {
    const rows = new SpoolRows(db)
    const run = rows.run(runId)
    this.runId = runId
    this.topic = run.topic
    this.createdMs = run.created_ms
    this.#db = db
    this.#rows = rows
    this.#place = new FilePlace(db.file)
    this.#maxBytes = maxBytes
    this.#fsync = options.fsync ?? false
    this.seals = findSeals(db)
    this.#partitions = run.partitions ?? undefined
    this.cluster = run.cluster ?? undefined
    this.#unbound = options.unbound ?? run.cluster === null
    // A damaged file may have ids that no JavaScript number holds.
    const totals = rows.totals(2n ** 63n - 1n)
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

  get file(): string {
    return this.#db.file
  }

  get inPlace(): boolean {
    return this.#place.isWhole
  }

  move(): void {
    const [old, place] = [this.#db, this.#place]
    const { runId } = this
    this.#db = copyToNewFile(old, { directory: dirname(old.file), runId, fsync: this.#fsync })
    this.#rows = new SpoolRows(this.#db)
    this.seals?.moved(this.#db)
    this.#place = new FilePlace(this.#db.file)
    this.#displaced = false
    // Without its log it would be adopted as a spool that lacks the newest chunks.
    if (place.hasName) removeSpool(old.file)
    old.close()
  }

  get unbound(): boolean {
    return this.#unbound
  }

  bind({ cluster, partitions }: KnownTopic): void {
    if (!this.#unbound) return
    checkPartitions(partitions)
    if (cluster !== this.cluster) {
      const update = this.#db.prepare('UPDATE run SET cluster = ?, partitions = coalesce(partitions, ?)')
      freeReserve(this.file, 'binding')
      // Durable through the loss of power as well. Otherwise the next owner might set another number, and records that were
      // sent before would go to other partitions, whose duplicate filters do not know them.
      this.#db.durably('write', () => update.run(cluster, partitions))
    }
    this.cluster = cluster
    this.#partitions ??= partitions
    this.#unbound = false
  }

  get bytes(): number {
    return this.#bytes + (this.seals?.bytes ?? 0)
  }

  get runSeqs(): { first: number; last: number } {
    return { first: this.#firstSeq, last: this.#lastSeq }
  }

  append(chunk: Chunk, { keepFreeBytes = 0, leaves }: AppendOptions = {}): number {
    checkChunk(chunk)
    if (this.#displaced) this.move()
    const layout = packLayout(chunk)
    const id = this.#nextId
    const checksum = this.#checksum(id, chunk.firstSeq, layout, chunk.bytes)
    this.#checkSeq(chunk.firstSeq, checksum)
    if (leaves !== undefined && this.seals === undefined)
      throw new InvalidInputError('OPTIONS_INVALID', `leaves: the run of ${this.file} has no seals`)
    const packed = leaves && packLeaves(leaves)
    const size = layout.length + chunk.bytes.length + (packed?.length ?? 0)
    if (this.bytes + size + keepFreeBytes > this.#maxBytes) {
      const limit = `${this.#maxBytes}, of which ${keepFreeBytes} are kept free`
      const message = `${this.file} holds ${this.bytes} bytes; ${size} more would pass its limit of ${limit}`
      throw new AuditUnavailableError('SPOOL_FULL', message)
    }
    const { firstSeq: first_seq, bytes } = chunk
    const records = chunk.ends.length
    try {
      this.#insert({ id, first_seq, records, checksum, layout, bytes, leaves: packed }, size)
      this.#unclear = undefined
    } catch (error) {
      this.#unclear = { firstSeq: chunk.firstSeq, checksum }
      throw error
    } finally {
      this.#nextSeq = first_seq + records
    }
    this.#lastSeq = this.#nextSeq - 1
    this.#nextId = id + 1
    this.#chunks += 1
    this.#records += records
    this.#bytes += size
    return id
  }

  /** A chunk does not count as stored in a file without a name: it is taken out again, and the next append moves the file. */
  #insert(row: ChunkRow, size: number): void {
    this.#rows.insert(row, size)
    if (!this.inPlace) {
      this.#displaced = true
      this.#rows.deleteLast(row.id)
      throw new AuditUnavailableError('SPOOL_UNAVAILABLE', `${this.file} was removed, renamed or replaced`)
    }
    if (row.leaves !== undefined) this.seals?.stored(row.first_seq, row.leaves.length)
  }

  /** If a run_seq named two records, the consumer's duplicate filter would drop one of them. */
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
        const next = this.#rows.peek(lastId)
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
    const row = this.#rows.chunk(id)
    if (row === undefined) throw this.#damaged(id, 'it is missing')
    if (this.#checksum(row.id, row.first_seq, row.layout, row.bytes) !== row.checksum) {
      throw this.#damaged(id, 'its checksum does not match')
    }
    const chunk = unpackChunk({ firstSeq: row.first_seq, count: row.records, layout: row.layout, bytes: row.bytes })
    if (chunk === undefined) throw this.#damaged(id, `its layout is not that of ${row.records} records`)
    if (!isUnassigned(chunk)) return chunk
    if (this.#partitions !== undefined) return assignPartitions(chunk, this.#partitions)
    throw new InvalidInputError('OPTIONS_INVALID', `${this.file} holds records without partitions: bind it first`)
  }

  #checksum(id: number, firstSeq: number, layout: Uint8Array, bytes: Uint8Array): number {
    return chunkChecksum({ topic: this.topic, id, firstSeq, layout, bytes })
  }

  #damaged(id: number, reason: string): IntegrityError {
    return new IntegrityError('SPOOL_CORRUPT', `chunk ${id} of ${this.file} is damaged: ${reason}`)
  }

  trim(upToId: number): void {
    // Never beyond the last chunk: a chunk appended later is not acknowledged yet.
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(upToId, this.#nextId - 1))
    const trimmed = this.#rows.totals(upToId)
    if (trimmed.chunks === 0) return
    const deleteChunks = (): void => this.#rows.deleteUpTo(upToId)
    if (this.seals === undefined) deleteChunks()
    else this.seals.trim({ upToId, nextSeq: trimmed.next_seq ?? 0, deleteChunks })
    this.#chunks -= trimmed.chunks
    this.#records -= trimmed.records
    this.#bytes -= trimmed.bytes
    this.#firstSeq = trimmed.next_seq ?? this.#firstSeq
    if (this.#chunks === 0) this.#giveSpaceBack()
  }

  #giveSpaceBack(): void {
    try {
      if (this.#db.fileBytes() > SHRINK_ABOVE_BYTES) this.#db.shrink()
    } catch {
      // This only gives back space, and is tried again when the spool is next empty. The trim itself is committed.
    }
  }

  stats(): SpoolStats {
    return {
      bytes: this.bytes,
      chunks: this.#chunks,
      records: this.#records,
      oldestMs: this.#rows.oldestMs(),
    }
  }

  firstSeqs(): number[] {
    return this.#rows.firstSeqs()
  }

  setAside(): string | undefined {
    this.#closed = true
    return setAside(this.file, this.#db)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      // On a full disk even deleting rows fails, because the write-ahead log needs space. Removing the file frees space.
      const acknowledged = this.#acknowledged >= this.#nextId - 1 || this.#chunks === 0
      if (!acknowledged || this.seals?.finished === false) {
        if (!this.inPlace) this.move()
      } else if (this.#place.hasName) removeSpool(this.file)
    } finally {
      this.#db.close()
    }
  }
}
