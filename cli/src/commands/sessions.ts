/** `agent-audit sessions`. */
import { sessions, type SessionSummary } from '@agent-audit/analytics'
import type { Command } from 'commander'
import { clockOption, parseCount, parseTime } from '../arguments.ts'
import { printArray, type Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { type Column, table } from '../render/table.ts'
import { counted, dayAndTime, duration, exactFigure, figure, painter, shortId } from '../render/text.ts'

interface Options extends ConnectionOptions {
  readonly since: Date
  readonly until?: Date
  readonly by: 'event_time' | 'log_time'
  readonly limit: number
  readonly agent?: string
  readonly json?: boolean
}

const COLUMNS: readonly Column<SessionSummary>[] = [
  { title: 'SESSION', value: (row) => shortId(row.session_id) },
  { title: 'AGENT', value: (row) => shortId(row.agent_id) },
  { title: 'USER', value: (row) => shortId(row.user_id ?? '-') },
  { title: 'STARTED (UTC)', value: (row) => dayAndTime(row.started_at) },
  { title: 'TOOK', value: (row) => duration(row.started_at, row.last_at), right: true },
  { title: 'STATE', value: (row) => (row.outcome === null ? row.state : `${row.state}, ${shortId(row.outcome)}`) },
  { title: 'EVENTS', value: (row) => figure(row.events), right: true },
  { title: 'LLM', value: (row) => figure(row.llm_calls), right: true },
  { title: 'TOOLS', value: (row) => figure(row.tool_calls), right: true },
  { title: 'ERRORS', value: (row) => figure(row.errors), right: true },
  { title: 'TOKENS IN', value: (row) => exactFigure(row, 'input_tokens'), right: true },
  { title: 'TOKENS OUT', value: (row) => exactFigure(row, 'output_tokens'), right: true },
]

export function addSessions(program: Command, terminal: Terminal): void {
  const command = program
    .command('sessions')
    .description('list the sessions with events in a time window, latest first')
    .option('--since <time>', 'from this time on: 24h, 7d, or 2026-11-24T10:00:00Z', parseTime, parseTime('24h'))
    .option('--until <time>', 'before this time: as --since (default: now)', parseTime)
    .addOption(clockOption())
    .option('--limit <n>', 'length of the list', parseCount(1, 100_000), 50)
    .option('--agent <id>', 'only sessions of this agent')
    .option('--json', 'one JSON array; tokens that were not recorded are null')
  withDefaultNote(connectable(command)).action(async (options: Options) => {
    const found = await withTrail(options, terminal, (analytics) => sessions(analytics, options))
    if (options.json === true) return printArray(terminal, found)
    if (found.length === 0) return terminal.out(`no sessions since ${dayAndTime(options.since.toISOString())} UTC\n`)
    terminal.out(table(COLUMNS, found, painter(terminal.colors)))
    if (found.length === options.limit)
      terminal.out(`the latest ${counted(found.length, 'session')}; --limit shows more\n`)
  })
}

/** The default of --since depends on the current time: help shows the duration instead. */
export function withDefaultNote(command: Command): Command {
  const since = command.options.find(({ long }) => long === '--since')
  if (since !== undefined) since.defaultValueDescription = '24h'
  return command
}
