/** `agent-audit export`. */
import { exportTrail, type ExportReport, type Manifest } from '@agent-audit/analytics'
import type { Command } from 'commander'
import { clockOption, parseTime } from '../arguments.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { asJson, counted, dayAndTime, figure, printable } from '../render/text.ts'
import { EXIT, type Terminal } from '../terminal.ts'

interface Options extends ConnectionOptions {
  readonly since?: Date
  readonly until?: Date
  readonly by?: 'event_time' | 'log_time'
  readonly agent?: string
  readonly out: string
  readonly update?: boolean
  readonly json?: boolean
}

const AFTER_HELP = `
DIR gets events/day=…/agent=…/….parquet and manifest.json. Run again on the same DIR: goes on after a kill, else checks each file
and writes again what is missing or damaged. DIR holds one range; options that are left out are as DIR has them. Events that
are stored later, however old: --update. Without --until the range is open, and --update adds new days too.`

export function addExport(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const clock = clockOption()
  clock.default(undefined, 'event-time')
  const command = program
    .command('export')
    .description('write the events of a time window as Parquet, for notebooks')
    .option('--since <time>', 'from this time on: 24h, 7d, or 2026-11-24T10:00:00Z; needed for a new DIR', parseTime)
    .option('--until <time>', 'before this time: as --since (default: open)', parseTime)
    .addOption(clock)
    .option('--agent <id>', 'only events of this agent')
    .requiredOption('-o, --out <dir>', 'the folder, made if it is missing')
    .option('--update', 'add the events that were stored since the last run')
    .option('--json', 'one JSON object: what this run has done, and the manifest')
    .addHelpText('after', AFTER_HELP)
  connectable(command).action(async (options: Options) => {
    const report = await withTrail(options, terminal, (analytics) =>
      exportTrail(analytics, { ...options, directory: options.out }),
    )
    terminal.out(options.json === true ? `${asJson(report)}\n` : described(report, options))
    if (report.foreign.length > 0) terminal.err(foreignNote(report.foreign))
    if (report.manifest === undefined || report.foreign.length > 0) exit(EXIT.finding)
  })
}

function described(report: ExportReport, { out, update }: Options): string {
  const { manifest, added, repaired, later } = report
  const folder = printable(out)
  if (manifest === undefined) return 'nothing to export: the range has no events, and nothing was written\n'
  const rows = added.reduce((sum, file) => sum + file.rows, 0)
  const lines = [
    ...(report.resumed ? ['finished what an earlier run had begun'] : []),
    ...(added.length > 0
      ? [`${counted(rows, 'event')} in ${counted(added.length, 'file')} exported to ${folder}`]
      : [`nothing ${update === true ? 'new since the last run' : 'to do'}: ${folder} has the range already`]),
    ...(repaired.length > 0 ? [`${counted(repaired.length, 'file')} missing or damaged, and written again`] : []),
    summary(manifest),
    ...(later > 0 ? [`${counted(later, 'event')} stored since then; --update adds them`] : []),
  ]
  return lines.map((line) => `${line}\n`).join('')
}

function summary({ range, tables, complete_to: ends, rounds }: Manifest): string {
  const { rows, bytes, files } = tables.events
  const until = range.until === null ? 'open' : dayAndTime(range.until)
  const held = rounds.at(-1)?.held.length ?? 0
  return [
    `in all ${counted(rows, 'event')}, ${counted(files.length, 'file')}, ${figure(bytes)} bytes`,
    `${range.clock} from ${dayAndTime(range.since)} until ${until} UTC`,
    `complete to ${ends.map((end) => `${end.log_id}/${end.partition}/${end.offset}`).join(' ')}`,
    ...(held > 0
      ? [`${counted(held, 'partition')} ends at a gap: \`agent-audit verify\` says whether it is a loss`]
      : []),
  ].join('\n')
}

function foreignNote(paths: readonly string[]): string {
  const [first = ''] = paths
  return `agent-audit: ${counted(paths.length, 'Parquet file')} among the events that no manifest names, such as ${printable(first)}: move it away, or notebooks read it too\n`
}
