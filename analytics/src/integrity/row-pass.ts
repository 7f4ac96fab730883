/**
 * The one pass over the stored rows. Partitions are read in chunks of offsets, always the one next whose rows were appended first:
 * the records of a producer's seal lie in all partitions and come close together in time, so few seals are open at once.
 */
import { createHash } from 'node:crypto'
import { createRowSkipper, EVENTS_TABLE, IntegrityError, SCHEMA_TAILS, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row } from '../connection/rows.ts'
import { IN_RANGE, type StoredPartition } from '../queries/log-ranges.ts'
import type { Range } from '../verify/ranges.ts'
import { containerBlocks } from './container-blocks.ts'
import type { Findings } from './findings.ts'
import type { PartitionSeals } from './partition-seals.ts'
import { readSkippedEntry, ROW_COLUMNS, type SealedTable } from './row-columns.ts'
import type { RunSeals } from './run-seals.ts'

/** Offsets of one query, of all partitions together: a producer's seal is open for about so many rows. */
const OFFSETS_AT_ONCE = 1_048_576
const MIN_CHUNK = 8192
const MAX_CHUNK = 131_072

/** A partition in the pass. */
export interface PassedPartition extends StoredPartition {
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
  #runBytes = ''
  #runId = ''

  constructor(parts: PassParts, report: PassReport) {
    this.#parts = parts
    this.#report = report
  }

  /** @returns the newest log_time */
  async chunk(partition: PassedPartition, from: number, to: number): Promise<number> {
    const params = { log: partition.log, partition: partition.partition, from, to }
    let newest = -Infinity
    const tables = [EVENTS_TABLE, SKIPPED_TABLE] as const
    for (const table of tables) {
      const bytes = this.#parts.analytics.bytes(QUERIES[table], { format: 'Avro', params })
      for await (const { data } of containerBlocks(bytes)) {
        newest = Math.max(newest, this.#block(table, partition, data))
      }
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

  /** The rows of a block: hashed in runs of rows of the same consumer seal. */
  #block(table: SealedTable, partition: PassedPartition, data: Buffer): number {
    const { seals } = partition
    let [at, start, count, newest] = [0, 0, 0, -Infinity]
    let open: number | undefined
    const flush = (): void => {
      if (open !== undefined && count > 0) seals.add(table, open, data.subarray(start, at), count)
      this.#report.storedSealed += open === undefined ? 0 : count
    }
    while (at < data.length) {
      const row = table === EVENTS_TABLE ? this.#event(data, at) : this.#skipped(data, at)
      const index = seals.indexAt(table, row.offset)
      if (index !== open) {
        flush()
        ;[open, start, count] = [index, at, 0]
      }
      if (index === undefined) seals.noteUnsealed(row.offset, row.logTimeMs)
      row.place(`${partition.log}/${partition.partition}`, index !== undefined)
      newest = Math.max(newest, row.logTimeMs)
      count++
      at = row.end
    }
    flush()
    return newest
  }

  #event(data: Buffer, start: number): PassedRow {
    const { bounds } = this.#skipper
    const end = this.#skipper.skip(data, start)
    if (end < 0) throw cut(EVENTS_TABLE)
    this.#report.events++
    const { logOffset: offset, logTimeMs } = bounds
    return {
      end,
      offset,
      logTimeMs,
      place: (partition, isStoredSealed) => this.#placeEvent(data, start, { partition, isStoredSealed, end }),
    }
  }

  #placeEvent(data: Buffer, start: number, row: { partition: string; isStoredSealed: boolean; end: number }): void {
    const { bounds } = this.#skipper
    const { runIdStart, runSeq, producerStart, producerEnd, logOffset, logTimeMs, isReplay, bodyEnds } = bounds
    const version = SCHEMA_TAILS.get(data.toString('latin1', bounds.schemaStart, row.end))
    const newest = bodyEnds.at(-1) ?? start
    const bodyEnd = version === undefined ? newest : (bodyEnds[version.version - 1] ?? newest)
    if (version === undefined) {
      const [log_id = '', partition] = row.partition.split('/')
      const place = { log_id, partition: Number(partition), first_offset: logOffset, last_offset: logOffset }
      this.#parts.findings.add(
        'unchecked',
        'schema-unknown',
        'the row names a writer schema that this version does not know',
        place,
      )
    }
    // A field that the writer's schema does not have is null. Otherwise it was set later: the leaf is of all fields then.
    const whole = isZero(data, bodyEnd, newest) ? bodyEnd : newest
    const coverage = this.#parts.runs.place(
      this.#hexOf(data, runIdStart),
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
      },
    )
    if (coverage === 'sealed') this.#report.sealedEvents++
  }

  #skipped(data: Buffer, start: number): PassedRow {
    const entry = readSkippedEntry(data, start)
    if (entry === undefined) throw cut(SKIPPED_TABLE)
    this.#report.skipped++
    const { runId, runSeq, body, offset, logTimeMs, end, kind } = entry
    const place = (partition: string, isStoredSealed: boolean): void => {
      if (runId === undefined || runSeq === undefined || body === undefined) return
      const leaf = this.#leaf(body, 0, body.length)
      const source = kind === 'dead' ? ('dead letter' as const) : ('duplicate' as const)
      const record = { seq: runSeq, leaf, kind: source, partition, offset, logTimeMs, isReplay: false, isStoredSealed }
      this.#parts.runs.place(runId, () => '', record)
    }
    return { end, offset, logTimeMs, place }
  }

  #leaf(bytes: Buffer, start: number, end: number): Buffer {
    const length = 1 + end - start
    if (length > this.#input.length) this.#input = Buffer.alloc(2 * length)
    bytes.copy(this.#input, 1, start, end)
    return createHash('sha256').update(this.#input.subarray(0, length)).digest()
  }

  /** Most rows have the run of the row before. */
  #hexOf(data: Buffer, start: number): string {
    const bytes = data.toString('latin1', start, start + 16)
    if (bytes !== this.#runBytes) [this.#runBytes, this.#runId] = [bytes, Buffer.from(bytes, 'latin1').toString('hex')]
    return this.#runId
  }
}

interface PassedRow {
  readonly end: number
  readonly offset: number
  readonly logTimeMs: number
  readonly place: (partition: string, isStoredSealed: boolean) => void
}

function isZero(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return false
  return true
}

function cut(table: string): IntegrityError {
  return new IntegrityError('STORE_REFUSED', `a row of ${table} is not in the form of its columns`)
}
