/** `agent-audit agents`. */
import { agents, type AgentSummary } from '@agent-audit/analytics'
import type { Command } from 'commander'
import { clockOption, parseCount, parseTime } from '../arguments.ts'
import { printArray, type Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { type Column, table } from '../render/table.ts'
import { dayAndTime, exactFigure, figure, painter, shortId } from '../render/text.ts'
import { withDefaultNote } from './sessions.ts'

interface Options extends ConnectionOptions {
  readonly since: Date
  readonly until?: Date
  readonly by: 'event_time' | 'log_time'
  readonly limit: number
  readonly json?: boolean
}

const COLUMNS: readonly Column<AgentSummary>[] = [
  { title: 'AGENT', value: (row) => shortId(row.agent_id) },
  { title: 'SESSIONS', value: (row) => figure(row.sessions), right: true },
  { title: 'EVENTS', value: (row) => figure(row.events), right: true },
  { title: 'LLM', value: (row) => figure(row.llm_calls), right: true },
  { title: 'TOOLS', value: (row) => figure(row.tool_calls), right: true },
  { title: 'ERRORS', value: (row) => figure(row.errors), right: true },
  { title: 'DENIED', value: (row) => figure(row.denied), right: true },
  { title: 'BLOCKED', value: (row) => figure(row.blocked), right: true },
  { title: 'TOKENS IN', value: (row) => exactFigure(row, 'input_tokens'), right: true },
  { title: 'TOKENS OUT', value: (row) => exactFigure(row, 'output_tokens'), right: true },
  { title: 'LAST EVENT (UTC)', value: (row) => dayAndTime(row.last_at) },
]

export function addAgents(program: Command, terminal: Terminal): void {
  const command = program
    .command('agents')
    .description('sum up the events of each agent in a time window, busiest first')
    .option('--since <time>', 'from this time on: 24h, 7d, or 2026-11-24T10:00:00Z', parseTime, parseTime('24h'))
    .option('--until <time>', 'before this time: as --since (default: now)', parseTime)
    .addOption(clockOption())
    .option('--limit <n>', 'length of the list', parseCount(1, 100_000), 50)
    .option('--json', 'one JSON array; tokens that were not recorded are null')
  withDefaultNote(connectable(command)).action(async (options: Options) => {
    const found = await withTrail(options, terminal, (analytics) => agents(analytics, options))
    if (options.json === true) return printArray(terminal, found)
    if (found.length === 0) return terminal.out(`no events since ${dayAndTime(options.since.toISOString())} UTC\n`)
    terminal.out(table(COLUMNS, found, painter(terminal.colors)))
  })
}
