/**
 * What the migration 0011 costs the server: CPU of an event to insert it, and to merge it once, in a table with it and in one
 * without. The tables take turns. Both get the same blocks of 50,000 consecutive rows of one partition of a fleet.
 */
import type { Analytics } from '@agent-audit/analytics'
import { EVENTS_TABLE, readMigrations, statementsIn } from '@agent-audit/schemas'
import { readUsage } from '../support/process-usage.ts'
import type { InsertCost } from './query-figures.ts'
import { median, rounded } from '../support/results.ts'

const MIGRATION = 11
const BLOCK_ROWS = 50_000
const BLOCKS = 4
const ROUNDS = 5
const TABLES = [
  { name: 'without', database: 'fleet_cost_without', migration: MIGRATION - 1 },
  { name: 'with', database: 'fleet_cost_with', migration: MIGRATION },
] as const
const SETTINGS = `SETTINGS log_comment = '9000000000000 9000000000000', max_threads = 1, max_insert_threads = 1,
  max_block_size = 1000000, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0`

/** @param fleet - A trail of a fleet; its rows are copied. */
export async function measureInsertCost(
  fleet: Analytics,
  serverPid: number,
  say: (line: string) => void,
): Promise<InsertCost> {
  for (const table of TABLES) await makeTable(fleet, table)
  await fleet.command(
    `CREATE TABLE {cost:Identifier}.blocks ENGINE = Memory AS SELECT * FROM {database:Identifier}.${EVENTS_TABLE}
     WHERE log_partition = 0 AND log_offset < ${BLOCK_ROWS * BLOCKS} ORDER BY log_offset`,
    { cost: TABLES[0].database },
  )
  const costs = {
    with: { insert: [] as number[], merge: [] as number[] },
    without: { insert: [] as number[], merge: [] as number[] },
  }
  // The first round warms caches up.
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { name, database } of round % 2 === 0 ? TABLES : TABLES.toReversed()) {
      const { insertUs, mergeUs } = await measure(fleet, serverPid, database)
      if (round === 0) continue
      costs[name].insert.push(insertUs)
      costs[name].merge.push(mergeUs)
    }
  }
  for (const { database } of TABLES) await fleet.command('DROP DATABASE {cost:Identifier} SYNC', { cost: database })
  const of = (name: 'with' | 'without'): { insertUs: number; mergeUs: number } => ({
    insertUs: rounded(median(costs[name].insert), 2),
    mergeUs: rounded(median(costs[name].merge), 2),
  })
  const cost = { blockRows: BLOCK_ROWS, rounds: ROUNDS, with: of('with'), without: of('without') }
  say(`queries, us of CPU an event: ${JSON.stringify(cost)}`)
  return cost
}

async function measure(
  fleet: Analytics,
  serverPid: number,
  database: string,
): Promise<{ insertUs: number; mergeUs: number }> {
  const table = `{cost:Identifier}.${EVENTS_TABLE}`
  const run = (statement: string): Promise<void> =>
    fleet.command(statement, { cost: database, blocks: TABLES[0].database })
  await run(`TRUNCATE TABLE ${table}`)
  await run(`SYSTEM STOP MERGES ${table}`)
  const begin = readUsage(serverPid).cpuUs
  for (let block = 0; block < BLOCKS; block++) {
    const first = block * BLOCK_ROWS
    await run(`INSERT INTO ${table} SELECT * FROM {blocks:Identifier}.blocks
      WHERE log_offset >= ${first} AND log_offset < ${first + BLOCK_ROWS} ${SETTINGS}`)
  }
  const inserted = readUsage(serverPid).cpuUs
  await run(`SYSTEM START MERGES ${table}`)
  await run(`OPTIMIZE TABLE ${table} FINAL`)
  const merged = readUsage(serverPid).cpuUs
  const rows = BLOCKS * BLOCK_ROWS
  return { insertUs: (inserted - begin) / rows, mergeUs: (merged - inserted) / rows }
}

async function makeTable(fleet: Analytics, { database, migration }: (typeof TABLES)[number]): Promise<void> {
  await fleet.command('DROP DATABASE IF EXISTS {cost:Identifier} SYNC', { cost: database })
  await fleet.command('CREATE DATABASE {cost:Identifier}', { cost: database })
  const chosen = readMigrations().filter(({ number }) => number <= migration)
  for (const statement of chosen.flatMap((file) => statementsIn(file, database))) await fleet.command(statement)
}
