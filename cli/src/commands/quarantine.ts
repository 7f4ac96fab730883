/** `agent-audit quarantine`: takes a forged row out of the count, without removing it. */
import {
  type Analytics,
  connectAnalytics,
  findPosition,
  quarantineRow,
  type RowAtPosition,
  rowsAt,
} from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Command } from 'commander'
import { connectable, type ConnectionOptions, connectServer, importEmbedded } from '../connect.ts'
import { type Column, table } from '../render/table.ts'
import { painter, printable } from '../render/text.ts'
import { EXIT, type Terminal } from '../terminal.ts'

interface Options extends ConnectionOptions {
  readonly row?: string
  readonly reason?: string
  readonly release?: boolean
}

const COLUMNS: readonly Column<RowAtPosition>[] = [
  { title: 'ROW', value: ({ row }) => row },
  { title: 'KIND', value: ({ kind }) => printable(kind) },
  { title: 'RUN', value: ({ run_id, run_seq }) => (run_id === null ? '-' : `${run_id}:${run_seq}`) },
  { title: 'EVENT', value: ({ event_id }) => event_id ?? '-' },
  { title: 'LOG TIME', value: ({ log_time }) => log_time },
  { title: 'COPIES', value: ({ copies }) => String(copies), right: true },
  { title: 'QUARANTINED', value: ({ quarantined }) => (quarantined ? 'yes' : 'no') },
]
const HELP = `
Lists the rows at an offset. With --reason, quarantines the one row there, or that of --row: the consumer then stores the
record of the log at this offset, and verify counts the row no more. The row stays. Needs an administrator (CLICKHOUSE_USER).
How to find forged rows: docs/runbooks/forged-rows.md.

Exit codes: 0 done, 1 no such row, 3 could not complete, 64 wrong use`

export function addQuarantine(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('quarantine')
    .description('list the rows at an offset, and take a forged one out of the count')
    .argument('<position>', 'TOPIC/PARTITION/OFFSET, or LOG_ID/PARTITION/OFFSET')
    .option('--reason <text>', 'quarantine the row, for this reason')
    .option('--row <id>', 'which row, where an offset has several')
    .option('--release', 'take the quarantine of the row back')
    .addHelpText('after', HELP)
  connectable(command).action(async (name: string, options: Options) => {
    const { reason, release, row } = options
    if (reason?.trim() === '' || (reason === undefined && (release === true || row !== undefined))) {
      throw new InvalidInputError('OPTIONS_INVALID', 'quarantine: say why: --reason TEXT')
    }
    exit(await withAdmin(options, terminal, (analytics) => quarantine(analytics, name, options, terminal)))
  })
}

async function withAdmin<T>(
  { dataDir }: ConnectionOptions,
  terminal: Terminal,
  work: (analytics: Analytics) => Promise<T>,
): Promise<T> {
  if (dataDir === undefined) {
    await using analytics = await connectServer(terminal.env)
    return await work(analytics)
  }
  const { openDataDir } = await importEmbedded()
  await using opened = await openDataDir(dataDir, { create: false })
  await using analytics = connectAnalytics(opened.admin)
  return await work(analytics)
}

async function quarantine(
  analytics: Analytics,
  name: string,
  { reason, row, release = false }: Options,
  terminal: Terminal,
): Promise<number> {
  const position = await findPosition(analytics, name)
  const rows = await rowsAt(analytics, position)
  if (rows.length === 0) {
    terminal.err(`agent-audit: no row at ${printable(name)}\n`)
    return EXIT.finding
  }
  if (reason === undefined) {
    terminal.out(table(COLUMNS, rows, painter(terminal.colors)))
    return EXIT.done
  }
  const chosen = rows.filter((each) => (row === undefined ? each.quarantined === release : each.row === row))
  const [only] = chosen
  if (only === undefined || chosen.length > 1) {
    const which = rows.map((each) => each.row).join(', ')
    throw new InvalidInputError('OPTIONS_INVALID', `quarantine: say which row of ${name}: --row, one of ${which}`)
  }
  await quarantineRow(analytics, position, { row: only.row, reason, release })
  terminal.out(`${release ? 'released' : 'quarantined'} the row ${only.row} at ${printable(name)}\n`)
  return EXIT.done
}
