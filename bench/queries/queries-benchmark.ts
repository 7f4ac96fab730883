/** Measures what people and jobs ask of the trail of a fleet, on trails of different sizes in one ClickHouse. */
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { DataDir } from '@agent-audit/embedded'
import { type Analytics, connectAnalytics, migrate } from '@agent-audit/analytics'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { QueriesPart, QueryFigures, StoredBytes } from './query-figures.ts'
import { percentile, rounded } from '../support/results.ts'
import { createRandom } from '../support/sessions.ts'
import { AGENTS, makeFleet, PARTITIONS } from './fleet-rows.ts'
import { measureInsertCost } from './insert-cost.ts'
import { type Asked, type Question, QUESTIONS } from './questions.ts'

const SIZES = [1_000_000, 10_000_000, 100_000_000]
/** Runs of a question before those that count. */
const WARM_UP = 10
const TIMEOUT_MS = 900_000

export interface QueriesBenchmark {
  readonly dataDir: DataDir
  /** Rows of the largest trail; the others are those sizes that are smaller. */
  readonly rows: number
  /** Runs of a question that count. */
  readonly runs: number
  readonly say: (line: string) => void
}

export async function benchmarkQueries({ dataDir, rows, runs, say }: QueriesBenchmark): Promise<QueriesPart> {
  const sizes = [...SIZES.filter((size) => size < rows), rows]
  for (const size of sizes) {
    await using admin = connect(dataDir, size)
    await migrate(admin)
    await makeFleet(admin, size, say)
  }
  const figures: QueryFigures[] = []
  const stored: StoredBytes[] = []
  for (const size of sizes) {
    await using admin = connect(dataDir, size)
    await waitForMerges(admin, say)
    await readFiles(admin)
    stored.push(await readStored(admin, size))
    const asked = await chooseRows(admin, size, WARM_UP + runs)
    for (const question of QUESTIONS) {
      const measured = await measure(admin, question, asked)
      figures.push({ rows: size, ...measured })
      say(
        `queries, ${size} rows, ${question.name}: p50 ${measured.p50Ms} ms, p95 ${measured.p95Ms} ms, CPU ${measured.cpuMs} ms, ${measured.answerRows} rows`,
      )
    }
  }
  await using admin = connect(dataDir, sizes[0] ?? rows)
  const inserts = await measureInsertCost(admin, dataDir.clickhouse.pid, say)
  return { agents: AGENTS, runs, figures, stored, inserts }
}

function connect({ admin }: DataDir, rows: number): Analytics {
  return connectAnalytics({ ...admin, database: `fleet_${rows}`, requestTimeoutMs: TIMEOUT_MS })
}

/** Events at random places of the log. */
async function chooseRows(admin: Analytics, rows: number, count: number): Promise<Asked[]> {
  const random = createRandom(rows)
  const asked: Asked[] = []
  while (asked.length < count) {
    const position = {
      partition: Math.floor(random() * PARTITIONS),
      offset: Math.floor(random() * (rows / PARTITIONS)),
    }
    const [row] = await admin.rows<Omit<Asked, 'at'> & { at: number }>(
      `SELECT toString(event_id) AS eventId, session_id AS sessionId, agent_id AS agentId, toFloat64(toUnixTimestamp64Milli(timestamp)) AS at
       FROM {database:Identifier}.${EVENTS_TABLE}
       WHERE log_partition = {partition:Int32} AND log_offset = {offset:Int64}`,
      position,
    )
    if (row === undefined) throw new Error(`no row at ${JSON.stringify(position)}`)
    asked.push({ ...row, at: new Date(row.at) })
  }
  return asked
}

async function measure(
  admin: Analytics,
  { name, ask }: Question,
  asked: readonly Asked[],
): Promise<Omit<QueryFigures, 'rows'>> {
  const times: number[] = []
  let answerRows = 0
  let cpuBefore = 0
  for (const [run, about] of asked.entries()) {
    if (run === WARM_UP) cpuBefore = await serverCpuMs(admin)
    const startedAt = performance.now()
    const found = await ask(admin, about)
    if (run < WARM_UP) continue
    times.push(performance.now() - startedAt)
    answerRows += found
  }
  const cpuMs = rounded(((await serverCpuMs(admin)) - cpuBefore) / times.length, 1)
  const [p50Ms, p95Ms] = [0.5, 0.95].map((share) => rounded(percentile(times, share), 1))
  return { question: name, p50Ms: p50Ms ?? 0, p95Ms: p95Ms ?? 0, cpuMs, answerRows: rounded(answerRows / times.length) }
}

async function serverCpuMs(admin: Analytics): Promise<number> {
  const [row] = await admin.rows<{ ms: number }>(
    `SELECT toFloat64(sum(value)) / 1000 AS ms FROM system.events
     WHERE event IN ('UserTimeMicroseconds', 'SystemTimeMicroseconds')`,
  )
  return row?.ms ?? 0
}

async function waitForMerges(admin: Analytics, say: (line: string) => void): Promise<void> {
  for (let told = false; ; told = true) {
    const [row] = await admin.rows<{ merges: number }>('SELECT toFloat64(count()) AS merges FROM system.merges')
    if (row?.merges === 0) return
    if (!told) say(`queries: waits for ${row?.merges} merges`)
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

/**
 * Reads all files of the table once, so that the system's page cache has what fits into memory: warm runs measure the server,
 * not the disk. Rows at random places of the log are seldom twice in one file block, so runs alone would not warm it.
 */
async function readFiles(admin: Analytics): Promise<void> {
  const parts = await admin.rows<{ path: string }>(
    `SELECT path FROM system.parts WHERE database = {database:String} AND active AND table = '${EVENTS_TABLE}'`,
  )
  for (const { path } of parts) {
    for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) await createReadStream(join(entry.parentPath, entry.name)).forEach(() => undefined)
    }
  }
}

/** All files of the active parts, and what of them the projections and indexes take. */
async function readStored(admin: Analytics, rows: number): Promise<StoredBytes> {
  const of = `database = {database:String} AND active`
  const [row] = await admin.rows<{ all: number; parts: number; indexes: number }>(
    `SELECT toFloat64(sum(bytes_on_disk)) AS all, toFloat64(count()) AS parts,
       toFloat64(sum(secondary_indices_compressed_bytes)) AS indexes
     FROM system.parts WHERE ${of} AND table = '${EVENTS_TABLE}'`,
  )
  const projections = await admin.rows<{ name: string; bytes: number }>(
    `SELECT name, toFloat64(sum(bytes_on_disk)) AS bytes FROM system.projection_parts
     WHERE ${of} AND table = '${EVENTS_TABLE}' GROUP BY name ORDER BY name`,
  )
  const anEvent = (bytes: number): number => rounded(bytes / rows, 2)
  return {
    rows,
    parts: row?.parts ?? 0,
    bytesAnEvent: anEvent(row?.all ?? 0),
    indexes: anEvent(row?.indexes ?? 0),
    projections: Object.fromEntries(projections.map(({ name, bytes }) => [name, anEvent(bytes)])),
  }
}
