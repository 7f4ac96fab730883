/**
 * The one pass over the stored rows. Partitions are read in chunks of offsets, always the one next whose rows were appended first:
 * the records of a producer's seal lie in all partitions and come close together in time, so few seals are open at once.
 */
import { hash } from 'node:crypto'
import {
  type ContainerRows,
  createRowSkipper,
  EVENTS_TABLE,
  IntegrityError,
  SCHEMA_TAILS,
  SKIPPED_TABLE,
} from '@agent-audit/schemas'
import type { Analytics } from '../../connection/clickhouse.ts'
import { number, type Row } from '../../connection/rows.ts'
import { IN_RANGE, type StoredPartition } from '../../queries/log-ranges.ts'
import type { Range } from '../../verify/ranges.ts'
import { containerBlocks } from './container-blocks.ts'
import type { Findings } from '../findings.ts'
import type { PartitionSeals } from './partition-seals.ts'
import { readSkippedEntry, ROW_COLUMNS, type SealedTable } from './row-columns.ts'
import type { RunSeals } from './run-seals.ts'

/** Offsets of one query, of all partitions together: a producer's seal is open for about so many rows. */
const OFFSETS_AT_ONCE = 1_048_576
const MIN_CHUNK = 8192
const MAX_CHUNK = 131_072
const RUN_ID_BYTES = 16

/** A partition in the pass. */
export interface PassedPartition extends StoredPartition {
  /** `<log_id>/<partition>`. */
  readonly key: string
  /** The last offset that an earlier run of verify has read; -1 without one. */
  readonly readTo: number
  readonly seals: PartitionSeals
  /** Offsets that expiry notes name. */
  readonly expired: readonly Range[]
}

export interface PassReport {
  events: number
  skipped: number
  /** Events whose record a producer seal covers, and rows that a consumer seal covers. */
  sealedEvents: number
  storedSealed: number
}

interface Progress {
  readonly partition: PassedPartition
  next: number
  /** log_time of the last row that was read. */
  frontierMs: number
}

const rowsOf = (table: SealedTable): string => `
  SELECT ${ROW_COLUMNS[table].join(', ')} FROM {database:Identifier}.${table}
  WHERE ${IN_RANGE} ORDER BY log_id, log_partition, log_offset`
const QUERIES = { [EVENTS_TABLE]: rowsOf(EVENTS_TABLE), [SKIPPED_TABLE]: rowsOf(SKIPPED_TABLE) }

const firstRowOf = (table: SealedTable): string => `
  SELECT log_offset FROM {database:Identifier}.${table} WHERE ${IN_RANGE} ORDER BY log_id, log_partition, log_offset LIMIT 1`
const FIRST_ROW = { [EVENTS_TABLE]: firstRowOf(EVENTS_TABLE), [SKIPPED_TABLE]: firstRowOf(SKIPPED_TABLE) }

export interface PassParts {
  readonly analytics: Analytics
  readonly runs: RunSeals
  readonly findings: Findings
  /** Told how many offsets are read. */
  readonly onProgress?: ((offsets: number) => void) | undefined
}

export async function passRows(partitions: readonly PassedPartition[], parts: PassParts): Promise<PassReport> {
  const report: PassReport = { events: 0, skipped: 0, sealedEvents: 0, storedSealed: 0 }
  const share = Math.floor(OFFSETS_AT_ONCE / Math.max(1, partitions.length))
  const chunk = Math.min(MAX_CHUNK, Math.max(MIN_CHUNK, share))
  const open: Progress[] = partitions.map((partition) => ({ partition, next: partition.first, frontierMs: -Infinity }))
  const pass = new Pass(parts, report)
  while (open.length > 0) {
    const [first, ...others] = open
    if (first === undefined) break
    const progress = others.reduce((least, one) => (one.frontierMs < least.frontierMs ? one : least), first)
    const { partition, next } = progress
    const newest = await pass.chunk(partition, next, Math.min(next + chunk, partition.last + 1))
    // An empty chunk may be the first of very many: a forged row may stand at any offset.
    const to =
      newest === -Infinity ? await pass.nextRow(partition, next + chunk) : Math.min(next + chunk, partition.last + 1)
    partition.seals.closeTo(to, partition.expired, parts.findings)
    parts.onProgress?.(to - next)
    progress.next = to
    progress.frontierMs = Math.max(progress.frontierMs, newest)
    if (to > partition.last) open.splice(open.indexOf(progress), 1)
  }
  // Seals above the last row: all of their rows are gone.
  for (const { seals, expired } of partitions) seals.closeTo(Infinity, expired, parts.findings)
  return report
}

class Pass {
  readonly #parts: PassParts
  readonly #report: PassReport
  readonly #skipper = createRowSkipper()
  #input = Buffer.alloc(4096)

  constructor(parts: PassParts, report: PassReport) {
    this.#parts = parts
    this.#report = report
  }

  /** @returns the newest log_time */
  async chunk(partition: PassedPartition, from: number, to: number): Promise<number> {
    const params = { log: partition.log, partition: partition.partition, from, to }
    const blocksOf = (table: SealedTable): AsyncGenerator<ContainerRows> =>
      containerBlocks(this.#parts.analytics.bytes(QUERIES[table], { format: 'Avro', params }))
    let newest = -Infinity
    const skipped = blocksOf(SKIPPED_TABLE)
    // The server makes this answer while it sends the events.
    const first = skipped.next()
    first.catch(() => undefined)
    for await (const { data } of blocksOf(EVENTS_TABLE)) newest = Math.max(newest, this.#events(partition, data))
    for (let block = await first; block.done !== true; block = await skipped.next()) {
      newest = Math.max(newest, this.#skipped(partition, block.value.data))
    }
    return newest
  }

  /** Offset of the first row from an offset on, of either table; behind the last one, if there is none. */
  async nextRow({ log, partition, last }: PassedPartition, from: number): Promise<number> {
    const params = { log, partition, from, to: last + 1 }
    const found: number[] = []
    for (const query of Object.values(FIRST_ROW)) {
      for (const row of await this.#parts.analytics.rows<Row>(query, params)) found.push(number(row, 'log_offset'))
    }
    return Math.min(last + 1, ...found)
  }

  #events(partition: PassedPartition, data: Buffer): number {
    const stretch = new Stretch(EVENTS_TABLE, partition.seals, data)
    const { key, readTo } = partition
    const { bounds } = this.#skipper
    let newest = -Infinity
    for (let at = 0; at < data.length;) {
      const end = this.#skipper.skip(data, at)
      if (end < 0) throw cut(EVENTS_TABLE)
      const isStoredSealed = stretch.row(at, bounds.logOffset, bounds.logTimeMs)
      this.#placeEvent(data, at, { partition: key, isStoredSealed, isNew: bounds.logOffset > readTo, end })
      if (bounds.logTimeMs > newest) newest = bounds.logTimeMs
      this.#report.events++
      at = end
    }
    this.#report.storedSealed += stretch.end()
    return newest
  }

  #placeEvent(data: Buffer, start: number, row: RowInPass): void {
    const { bounds } = this.#skipper
    const { runIdStart, runSeq, producerStart, producerEnd, logOffset, logTimeMs, isReplay, bodyEnds } = bounds
    const version = SCHEMA_TAILS.get(data.toString('latin1', bounds.schemaStart, row.end))
    const newest = bodyEnds[bodyEnds.length - 1] ?? start
    const bodyEnd = version === undefined ? newest : (bodyEnds[version.version - 1] ?? newest)
    if (version === undefined) this.#unknownSchema(row.partition, logOffset)
    // A field that the writer's schema does not have is null. Otherwise it was set later: the leaf is of all fields then.
    const whole = isZero(data, bodyEnd, newest) ? bodyEnd : newest
    const isSealed = this.#parts.runs.place(
      data.toString('latin1', runIdStart, runIdStart + RUN_ID_BYTES),
      () => data.toString('utf8', producerStart, producerEnd),
      {
        seq: runSeq,
        leaf: this.#leaf(data, start, whole),
        kind: 'event',
        partition: row.partition,
        offset: logOffset,
        logTimeMs,
        isReplay,
        isStoredSealed: row.isStoredSealed,
        isNew: row.isNew,
      },
    )
    if (isSealed) this.#report.sealedEvents++
  }

  #unknownSchema(key: string, offset: number): void {
    const [log_id = '', partition] = key.split('/')
    const place = { log_id, partition: Number(partition), first_offset: offset, last_offset: offset }
    const message = 'the row names a writer schema that this version does not know'
    this.#parts.findings.add('unchecked', 'schema-unknown', message, place)
  }

  #skipped({ key, seals }: PassedPartition, data: Buffer): number {
    const stretch = new Stretch(SKIPPED_TABLE, seals, data)
    let newest = -Infinity
    for (let at = 0; at < data.length;) {
      const entry = readSkippedEntry(data, at)
      if (entry === undefined) throw cut(SKIPPED_TABLE)
      const { runId, runSeq: seq, body, offset, logTimeMs, end } = entry
      const isStoredSealed = stretch.row(at, offset, logTimeMs)
      if (runId !== undefined && seq !== undefined && body !== undefined) {
        const kind = entry.kind === 'dead' ? ('dead letter' as const) : ('duplicate' as const)
        const leaf = this.#leaf(body, 0, body.length)
        const record = {
          seq,
          leaf,
          kind,
          partition: key,
          offset,
          logTimeMs,
          isReplay: false,
          isStoredSealed,
          isNew: true,
        }
        this.#parts.runs.place(runId, () => '', record)
      }
      newest = Math.max(newest, logTimeMs)
      this.#report.skipped++
      at = end
    }
    this.#report.storedSealed += stretch.end()
    return newest
  }

  /** As 32 characters of latin1: making a Buffer costs more than the hash of a small record. */
  #leaf(bytes: Buffer, start: number, end: number): string {
    const length = 1 + end - start
    if (length > this.#input.length) this.#input = Buffer.alloc(2 * length)
    bytes.copy(this.#input, 1, start, end)
    return hash('sha256', this.#input.subarray(0, length), 'binary')
  }
}

interface RowInPass {
  readonly partition: string
  readonly isStoredSealed: boolean
  readonly isNew: boolean
  readonly end: number
}

/** The rows of a block of a table: hashed in stretches of rows of the same consumer seal. */
class Stretch {
  readonly #table: SealedTable
  readonly #seals: PartitionSeals
  readonly #data: Buffer
  #seal: number | undefined
  #start = 0
  #count = 0
  #sealed = 0

  constructor(table: SealedTable, seals: PartitionSeals, data: Buffer) {
    this.#table = table
    this.#seals = seals
    this.#data = data
  }

  /** @returns whether a seal covers it */
  row(at: number, offset: number, logTimeMs: number): boolean {
    const index = this.#seals.indexAt(this.#table, offset)
    if (index !== this.#seal) {
      this.#flush(at)
      this.#seal = index
    }
    this.#count++
    if (index === undefined) this.#seals.noteUnsealed(offset, logTimeMs)
    return index !== undefined
  }

  /** @returns how many rows seals cover */
  end(): number {
    this.#flush(this.#data.length)
    return this.#sealed
  }

  #flush(at: number): void {
    if (this.#seal !== undefined && this.#count > 0) {
      this.#seals.add(this.#table, this.#seal, this.#data.subarray(this.#start, at), this.#count)
      this.#sealed += this.#count
    }
    this.#start = at
    this.#count = 0
  }
}

function isZero(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false
  return true
}

function cut(table: string): IntegrityError {
  return new IntegrityError('STORE_REFUSED', `a row of ${table} is not in the form of its columns`)
}
