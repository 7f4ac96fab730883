/** The consumer's metrics, for Prometheus. Names and units follow its conventions; labels never hold content. */
import { LOG_TIMES, type LogPartition } from '@agent-audit/kafka'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Logger } from 'pino'
import { addGauge, addProcessMetrics } from './process-metrics.ts'
import { createSealMetrics, type SealMetrics } from './seal-metrics.ts'
import { Lag, type LagSample, type PartitionLag } from './lag.ts'
import type { BufferMemory } from './pipeline/buffer-memory.ts'
import type { Conflict } from './pipeline/batch.ts'
import type { SkippedRow } from './pipeline/block.ts'
import type { PartitionObserver } from './pipeline/observer.ts'
import type { InsertAnswer, Table } from './pipeline/sink.ts'

export interface Metrics {
  readonly registry: Registry
  /** Stopped partitions, and why each stopped, by `topic/partition`. */
  readonly stopped: ReadonlyMap<string, string>
  /** The lag of every partition: {@link observe} adds them. */
  readonly lag: Lag
  observe(logPartition: LogPartition, log: Logger): PartitionObserver
  readonly inserted: (table: Table, ms: number, pieces: number) => void
  readonly seals: SealMetrics
  /** Exports the use of this memory from now on. */
  watchMemory(memory: BufferMemory): void
  /** Exports whether the consumer is ready, as /readyz says it, from now on. */
  watchReady(ready: () => boolean): void
  /** The consumer joined its group. */
  noteJoin(): void
}

const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const EVENTS = [1, 10, 100, 1000, 5000, 10_000, 25_000, 50_000, 100_000]

export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const labelNames = ['topic', 'partition'] as const
  const meters = {
    stored: new Counter({ name: 'audit_events_stored_total', help: 'Events stored.', labelNames, registers }),
    skipped: new Counter({
      name: 'audit_records_skipped_total',
      help: 'Offsets that became no event, by kind: duplicate, dead or hole.',
      labelNames: [...labelNames, 'kind'] as const,
      registers,
    }),
    lossReports: new Counter({
      name: 'audit_loss_reports_total',
      help: 'Events of type events_lost: each says that a producer could not store some events.',
      labelNames,
      registers,
    }),
    conflicts: new Counter({
      name: 'audit_conflicts_total',
      help: 'Records with the run_id and run_seq of a stored one, and another event_id. Both are kept.',
      labelNames,
      registers,
    }),
    batch: new Histogram({ name: 'audit_batch_events', help: 'Events in a batch.', buckets: EVENTS, registers }),
    insert: new Histogram({
      name: 'audit_insert_seconds',
      help: 'From sending an insert to its answer.',
      labelNames: ['table'] as const,
      buckets: SECONDS,
      registers,
    }),
    pieces: new Histogram({
      name: 'audit_insert_partitions',
      help: 'Partitions whose rows were stored by one insert.',
      labelNames: ['table'] as const,
      buckets: [1, 2, 4, 8, 16, 32, 64, 128],
      registers,
    }),
    failed: new Counter({
      name: 'audit_inserts_not_stored_total',
      help: 'Inserts that were refused, had no clear answer, or left no rows; counted for each partition in them.',
      labelNames: [...labelNames, 'answer'] as const,
      registers,
    }),
    stopped: new Gauge({
      name: 'audit_partition_stopped',
      help: '1 while a partition is stopped: too many dead letters in a row, a batch that cannot be unpacked, or rows not of its log.',
      labelNames,
      registers,
    }),
    commits: new Counter({
      name: 'audit_commits_total',
      help: 'Commits sent to the group; each takes or ends a lease.',
      labelNames: [...labelNames, 'answer'] as const,
      registers,
    }),
  }
  const stopped = new Map<string, string>()
  const lag = new Lag()
  const lagGauge = (name: string, help: string, read: (of: LagSample) => number): Gauge =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        for (const of of lag.samples(Date.now())) this.set({ topic: of.topic, partition: of.partition }, read(of))
      },
    })
  lagGauge('audit_lag_records', 'Offsets in the log that have no row in the tables yet.', (of) => of.records)
  const oldest = 'Since the oldest record without a row was appended to the log, seconds; 0 if there is none.'
  lagGauge('audit_oldest_record_age_seconds', oldest, (of) => of.oldestAgeMs / 1000)
  const watched: { memory?: BufferMemory; ready?: () => boolean } = {}
  const gauge = (name: string, help: string, read: () => number): Gauge => addGauge(registry, { name, help, read })
  gauge('audit_buffered_bytes', 'Bytes of records in memory, of all partitions.', () => {
    const { maxBytes, freeBytes } = watched.memory ?? { maxBytes: 0, freeBytes: 0 }
    return maxBytes - freeBytes
  })
  gauge('audit_fetching_paused', '1 while fetching pauses because memory is tight.', () =>
    Number(watched.memory?.tight ?? false),
  )
  gauge('audit_ready', '1 while /readyz answers 200.', () => Number(watched.ready?.() ?? false))
  const joins = new Counter({
    name: 'audit_group_joins_total',
    help: 'Joins of the group: one at the start, one for each rebalance, one after each lost connection.',
    registers,
  })
  addProcessMetrics(registry)
  const seals = createSealMetrics(registry)
  return {
    seals,
    registry,
    stopped,
    lag,
    observe: (logPartition, log) =>
      createObserver({ meters, stopped, seals, lag: lag.own(logPartition) }, logPartition, log),
    inserted: (table, ms, pieces) => {
      meters.insert.observe({ table }, ms / 1000)
      meters.pieces.observe({ table }, pieces)
    },
    watchMemory: (memory) => (watched.memory = memory),
    watchReady: (ready) => (watched.ready = ready),
    noteJoin: () => joins.inc(),
  }
}

type Meters = {
  stored: Counter<'topic' | 'partition'>
  skipped: Counter<'topic' | 'partition' | 'kind'>
  lossReports: Counter<'topic' | 'partition'>
  conflicts: Counter<'topic' | 'partition'>
  batch: Histogram
  failed: Counter<'topic' | 'partition' | 'answer'>
  stopped: Gauge<'topic' | 'partition'>
  commits: Counter<'topic' | 'partition' | 'answer'>
}

const NOT_STORED: Record<InsertAnswer['kind'], string> = {
  stored: '',
  refused: 'insert refused: retrying after a pause',
  'bad-data': 'insert refused for its data: bisecting to find the bad records',
  unclear: 'insert without a clear answer: reading the tables',
}

/** A counter that appears with its first count hides that count from Prometheus, which sees no increase. */
function startAtZero(meters: Meters, labels: { topic: string; partition: number }): void {
  for (const counter of [meters.stored, meters.lossReports, meters.conflicts]) counter.inc(labels, 0)
  for (const kind of SKIPPED_KINDS) meters.skipped.inc({ ...labels, kind }, 0)
  for (const answer of [...NOT_STORED_ANSWERS, 'missing']) meters.failed.inc({ ...labels, answer }, 0)
}

const CLAMPED =
  'records whose time no column holds: stored with the nearest one. Set message.timestamp.type=LogAppendTime'
const CONFLICTS = 'records with the run_id and run_seq of stored ones, and another event_id: see agent-audit verify'
const SKIPPED_KINDS = ['duplicate', 'dead', 'hole'] satisfies SkippedRow['kind'][]
const NOT_STORED_ANSWERS = ['refused', 'bad-data', 'unclear'] satisfies InsertAnswer['kind'][]
/** Most conflicts that a log line names: a hostile producer makes as many as it likes. */
const MOST_LOGGED = 10

interface ObserverParts {
  readonly meters: Meters
  readonly stopped: Map<string, string>
  readonly lag: PartitionLag
  readonly seals: SealMetrics
}

function createObserver(
  { meters, stopped, lag, seals }: ObserverParts,
  { topic, partition }: LogPartition,
  log: Logger,
): PartitionObserver {
  const labels = { topic, partition }
  const markRunning = (): void => {
    meters.stopped.set(labels, 0)
    stopped.delete(`${topic}/${partition}`)
  }
  const noteConflicts = (conflicts: readonly Conflict[]): void => {
    if (conflicts.length === 0) return
    meters.conflicts.inc(labels, conflicts.length)
    const some = conflicts.slice(0, MOST_LOGGED)
    log.error({ ...labels, count: conflicts.length, conflicts: some }, CONFLICTS)
  }
  markRunning()
  startAtZero(meters, labels)
  return {
    ...seals.observe(labels, log),
    recovered(next) {
      markRunning()
      lag.recovered(next)
    },
    writing: (batch) => lag.noteOldest(batch.firstLogTimeMs),
    written(batch) {
      markRunning()
      meters.stored.inc(labels, batch.block.count)
      meters.lossReports.inc(labels, batch.block.lossReports)
      meters.batch.observe(batch.block.count)
      lag.stored(batch.next, batch.logEnd, batch.lastLogTimeMs)
      for (const row of batch.skipped) meters.skipped.inc({ ...labels, kind: row.kind })
      const dead = batch.skipped.filter((row) => row.kind === 'dead')
      if (dead.length > 0)
        log.warn({ ...labels, count: dead.length, first: dead[0]?.offset, reason: dead[0]?.reason }, 'dead letters')
      if (batch.lastLogTimeMs === LOG_TIMES.first || batch.lastLogTimeMs === LOG_TIMES.last) {
        log.warn({ ...labels, first: batch.first, next: batch.next }, CLAMPED)
      }
      noteConflicts(batch.conflicts)
      log.debug({ ...labels, first: batch.first, next: batch.next, events: batch.block.count }, 'batch stored')
    },
    notInserted(table, answer, offsets) {
      meters.failed.inc({ ...labels, answer: answer.kind })
      const reason = answer.kind === 'stored' ? undefined : answer.reason
      log.error({ ...labels, table, ...offsets, answer: answer.kind, reason }, NOT_STORED[answer.kind])
    },
    committed: (answer) => meters.commits.inc({ ...labels, answer }),
    rowsMissing({ first, last }, found) {
      meters.failed.inc({ ...labels, answer: 'missing' })
      const missing = last - first + 1 - found
      log.error({ ...labels, first, last, missing }, 'ClickHouse acknowledged rows that are not in its tables')
    },
    recovering: () => log.info(labels, 'recovering the partition'),
    stopped(at, deadInARow) {
      meters.stopped.set(labels, 1)
      if (at.kind !== 'stopped') {
        stopped.set(`${topic}/${partition}`, at.error.message)
        log.fatal({ ...labels, code: at.error.code }, `partition stopped: ${at.error.message}`)
        return
      }
      const { offset, logTimeMs, reason } = at
      lag.noteOldest(logTimeMs)
      const why = `${deadInARow} dead letters in a row, and the record at offset ${offset} is also bad: ${reason}`
      stopped.set(`${topic}/${partition}`, why)
      log.fatal({ ...labels, offset, deadInARow, reason }, 'partition stopped: too many dead letters in a row')
    },
    ended() {
      lag.owned = false
      stopped.delete(`${topic}/${partition}`)
      meters.stopped.remove(labels)
    },
  }
}
