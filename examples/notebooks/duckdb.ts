/**
 * A notebook on an export, in DuckDB: which agents spend the tokens, which tools are slow, where actions were refused.
 * Editors that know `// %%` run it cell by cell; as a program:
 *
 *   agent-audit export --since 30d -o trail
 *   node examples/notebooks/duckdb.ts trail            # --json for programs
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'

const [directory = 'trail', format] = process.argv.slice(2)
const results: Record<string, unknown[]> = {}

// %% The export as one view. The folders give `day`; the agent's name is the column agent_id.
const connection = await (await DuckDBInstance.create()).connect()
const files = `${join(directory, 'events')}/**/*.parquet`.replaceAll("'", "''")
await connection.run(`CREATE VIEW events AS
  SELECT * FROM read_parquet('${files}', hive_partitioning = true, hive_types = {day: DATE, agent: VARCHAR})`)
// The trail records itself too; `agent-audit sessions` leaves that out.
await connection.run(`CREATE VIEW agent_events AS SELECT * FROM events WHERE NOT starts_with(session_id, 'trail:')`)

/** Runs a query, and keeps its rows as plain JSON. */
async function ask(name: string, sql: string): Promise<void> {
  results[name] = (await connection.runAndReadAll(sql)).getRowObjectsJson()
}

// %% Is it whole? The manifest says how many events there are.
const manifest = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as {
  tables: { events: { rows: number } }
}
const [counted] = (await connection.runAndReadAll('SELECT count(*)::INT AS events FROM events')).getRowObjectsJson()
const { rows } = manifest.tables.events
if (counted?.['events'] !== rows) {
  throw new Error(
    `${directory} has ${JSON.stringify(counted?.['events'])} events, its manifest says ${rows}: export again`,
  )
}

// %% Tokens by agent and day. Tokens that were not recorded are null, which differs from 0.
await ask(
  'tokens',
  `SELECT agent_id, day::VARCHAR AS day, sum(input_tokens)::DOUBLE AS input_tokens, sum(output_tokens)::DOUBLE AS output_tokens
   FROM agent_events GROUP BY agent_id, day ORDER BY agent_id, day`,
)

// %% The slowest tools.
await ask(
  'tools',
  `SELECT tool_name, count(*)::INT AS calls, round(quantile_cont(execution_time_ms, 0.95), 3)::DOUBLE AS p95_ms
   FROM agent_events WHERE event_type = 'tool_result' AND execution_time_ms IS NOT NULL
   GROUP BY tool_name ORDER BY p95_ms DESC, tool_name LIMIT 10`,
)

// %% Sessions in which an action was evaluated and not taken.
await ask(
  'refused',
  `SELECT session_id, any_value(agent_id) AS agent_id, count(*)::INT AS refused, list_sort(list_distinct(list(tool_name))) AS tools
   FROM agent_events WHERE outcome IN ('denied', 'blocked') GROUP BY session_id ORDER BY refused DESC, session_id`,
)

// %% The sessions, as `agent-audit sessions --json` counts them.
await ask(
  'sessions',
  `SELECT session_id, count(*)::INT AS events, count_if(event_type = 'llm_call')::INT AS llm_calls,
     count_if(event_type = 'tool_call')::INT AS tool_calls,
     count_if(error IS NOT NULL OR (coalesce(outcome, '') = 'error'
       AND event_type NOT IN ('session_end', 'session_timeout')))::INT AS errors
   FROM agent_events GROUP BY session_id ORDER BY session_id`,
)

// %% Print. Recorded text is not printed as it is: it may hold what a terminal obeys.
if (format === '--json') process.stdout.write(`${JSON.stringify(results)}\n`)
else
  for (const [name, found] of Object.entries(results)) {
    const lines = found.slice(0, 10).map((row) => JSON.stringify(row).replaceAll(/[^ -~]/g, '?'))
    process.stdout.write(`${name} (${found.length})\n${lines.map((line) => `  ${line}\n`).join('')}`)
  }
connection.closeSync()
