/** `agent-audit verify --completeness`. */
import { type Analytics, checkCompleteness, type CompletenessSummary } from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Command } from 'commander'
import { EXIT, Printer, type Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { completenessReport, RunSummary } from '../render/completeness.ts'
import { asJson, painter } from '../render/text.ts'

interface Options extends ConnectionOptions {
  readonly completeness?: boolean
  readonly json?: boolean
}

const EXIT_CODES = { complete: 0, repeated: 1, conflict: 1, overstated: 1, gaps: 2, claimed: 4 } as const

export function addVerify(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('verify')
    .description('check that no event is missing and none is stored twice')
    .option('--completeness', 'check every offset of every log partition, and every number of every run')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Exit codes: 0 complete, 1 repeated, altered, two records of one number or wrongly noted as expired, 2 gaps, 3 could not check,
or nothing is stored, 4 gaps that only another run or a dead letter explains, 64 wrong use`,
    )
  connectable(command).action(async (options: Options) => {
    if (options.completeness !== true) {
      throw new InvalidInputError('OPTIONS_INVALID', 'verify: say what to check: --completeness')
    }
    // Until there is a verdict: the reader of the output may end this process before.
    exit(EXIT.notCompleted)
    const print = options.json === true ? printJson : printReport
    const printer = new Printer(terminal)
    const summary = await withTrail(options, terminal, (analytics) => print(printer, analytics, terminal))
    if (summary.partitions.length === 0) terminal.err(`agent-audit: ${NOTHING}\n`)
    else exit(EXIT_CODES[summary.verdict])
    await printer.flush()
  })
}

const NOTHING = 'nothing to verify: the trail has no rows and no expiry notes, or all of them were removed'

/** One object; the runs come first, as they are checked: there may be millions. */
async function printJson(printer: Printer, analytics: Analytics): Promise<CompletenessSummary> {
  let before = '{"runs":['
  const summary = await checkCompleteness(analytics, async (run) => {
    await printer.print(`${before}${asJson(run)}`)
    before = ','
  })
  await printer.print(`${before === ',' ? '' : before}],${asJson(summary).slice(1)}\n`)
  return summary
}

async function printReport(printer: Printer, analytics: Analytics, terminal: Terminal): Promise<CompletenessSummary> {
  const runs = new RunSummary()
  const summary = await checkCompleteness(analytics, (run) => runs.add(run))
  await printer.print(completenessReport(summary, runs, painter(terminal.colors)))
  return summary
}
