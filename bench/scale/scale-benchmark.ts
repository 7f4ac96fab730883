/** Measures the consumer's queries about a partition, on logs of different sizes in one ClickHouse. */
import type { DataDir } from '@agent-audit/embedded'
import type { Analytics } from '@agent-audit/analytics'
import { readSettings } from '@agent-audit/consumer'
import {
  composeParts,
  type ClickHouseSink,
  type LogPartition,
  type RecordIdentity,
} from '@agent-audit/consumer/pipeline'
import {
  median,
  rounded,
  type ScalePart,
  type ScaleRound,
  SUSPECTS_STORED,
  WITH_METADATA,
  WITHOUT_METADATA,
} from '../support/results.ts'
import { makeRows, PARTITIONS, runAt, scaleLog, seqAt } from './scale-rows.ts'

const SIZES = [1_000_000, 10_000_000, 100_000_000]
/** Offsets above the committed one. */
const NEWEST = 50_000
const SUSPECTS = 1000
const MOST_DEAD = 1000

export interface ScaleBenchmark {
  readonly dataDir: DataDir
  readonly admin: Analytics
  /** Rows of the largest log; the others are those sizes that are smaller. */
  readonly rows: number
  readonly rounds: number
  readonly say: (line: string) => void
}

export async function benchmarkScale({ dataDir, admin, rows, rounds, say }: ScaleBenchmark): Promise<ScalePart> {
  const sizes = [...SIZES.filter((size) => size < rows), rows]
  for (const size of sizes) await makeRows(admin, scaleLog(size), say)
  const sink = openSink(dataDir)
  const measured: ScaleRound[] = []
  try {
    for (const size of sizes) {
      for (const question of QUESTIONS) {
        const round = { rows: size, ...(await measure(sink, { admin, size, question, rounds })) }
        measured.push(round)
        say(
          `scale, ${size} rows, ${round.question}: ${round.firstMs} ms, then ${round.medianMs} ms, at most ${round.maxMs} ms; CPU ${round.cpuMs} ms`,
        )
      }
    }
  } finally {
    await sink.close()
  }
  return { partitions: PARTITIONS, parts: await partsOf(admin), rounds: measured }
}

function openSink({ writer, logDir }: DataDir): ClickHouseSink {
  const store = { CLICKHOUSE_URL: writer.url, CLICKHOUSE_USER: writer.username, CLICKHOUSE_PASSWORD: writer.password }
  return composeParts(readSettings({ ...store, CLICKHOUSE_DATABASE: writer.database, AUDIT_DATA_DIR: logDir })).sink
}

interface Question {
  readonly name: string
  /** @throws Error if the answer is wrong */
  readonly ask: (sink: ClickHouseSink, at: Asked) => Promise<void>
}

interface Asked {
  readonly logPartition: LogPartition
  readonly offsets: number
}

async function measure(
  sink: ClickHouseSink,
  { admin, size, question, rounds }: { admin: Analytics; size: number; question: Question; rounds: number },
): Promise<Omit<ScaleRound, 'rows'>> {
  const log = scaleLog(size)
  const time = async (partition: number): Promise<number> => {
    const logPartition = { logId: log.logId, topic: `scale-${size}`, partition }
    const startedAt = performance.now()
    await question.ask(sink, { logPartition, offsets: log.offsets })
    return rounded(performance.now() - startedAt, 1)
  }
  const firstMs = await time(0)
  const ms: number[] = []
  const cpuBefore = await serverCpuMs(admin)
  for (let round = 0; round < rounds; round++) {
    for (let partition = 0; partition < PARTITIONS; partition++) ms.push(await time(partition))
  }
  const cpuMs = rounded(((await serverCpuMs(admin)) - cpuBefore) / ms.length, 1)
  return { question: question.name, firstMs, medianMs: median(ms), maxMs: Math.max(...ms), cpuMs }
}

/** The newest events of the run that never ends: its records are in slot 0. */
function newestSuspects({ logPartition, offsets }: Asked): RecordIdentity[] {
  return Array.from({ length: SUSPECTS }, (_, index) => {
    const offset = offsets - 10 * (index + 1)
    return { runId: runAt(offset, 0), runSeq: seqAt(offset, logPartition.partition) }
  })
}

const QUESTIONS: readonly Question[] = [
  {
    name: WITHOUT_METADATA,
    async ask(sink, { logPartition, offsets }) {
      expectSame(await sink.accounted(logPartition, 0), [{ first: 0, last: offsets - 1 }])
    },
  },
  {
    name: WITH_METADATA,
    async ask(sink, { logPartition, offsets }) {
      const first = offsets - NEWEST
      expectSame(await sink.accounted(logPartition, first), [{ first, last: offsets - 1 }])
    },
  },
  {
    name: SUSPECTS_STORED,
    async ask(sink, asked) {
      expectSame((await sink.stored(asked.logPartition, newestSuspects(asked))).length, SUSPECTS)
    },
  },
  {
    name: '1,000 suspects, none stored, of a run as long as the log',
    async ask(sink, asked) {
      const suspects = newestSuspects(asked).map(({ runId, runSeq }) => ({ runId, runSeq: runSeq - 1 }))
      expectSame(await sink.stored(asked.logPartition, suspects), [])
    },
  },
  {
    name: 'highest run_seq of 10 runs',
    async ask(sink, { logPartition, offsets }) {
      const runs = Array.from({ length: 10 }, (_, slot) => runAt(offsets - 1, slot))
      expectSame((await sink.highestSeqs(logPartition, runs)).size, runs.length)
    },
  },
  {
    name: 'dead letters in a row',
    async ask(sink, { logPartition, offsets }) {
      expectSame(await sink.deadInARow(logPartition, offsets, MOST_DEAD), 0)
    },
  },
  {
    name: 'record at an offset',
    async ask(sink, { logPartition, offsets }) {
      const offset = offsets - 2
      const [row] = await sink.rowsBetween(logPartition, { first: offset, last: offset }, 'counting')
      const record = [runAt(offset, offset % 10), seqAt(offset, logPartition.partition)]
      expectSame([row?.runId, row?.runSeq], record)
    },
  },
]

function expectSame(actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`)
  }
}

async function serverCpuMs(admin: Analytics): Promise<number> {
  const [row] = await admin.rows<{ ms: number }>(
    `SELECT toFloat64(sum(value)) / 1000 AS ms FROM system.events
     WHERE event IN ('UserTimeMicroseconds', 'SystemTimeMicroseconds')`,
  )
  return row?.ms ?? 0
}

async function partsOf(admin: Analytics): Promise<number> {
  const [row] = await admin.rows<{ parts: number }>(
    `SELECT toFloat64(count()) AS parts FROM system.parts WHERE database = {database:String} AND active`,
  )
  return row?.parts ?? 0
}
