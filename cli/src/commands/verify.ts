/** `agent-audit verify --completeness`. */
import { type Analytics, checkCompleteness, type CompletenessSummary } from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Command } from 'commander'
import { EXIT, Printer, type Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { completenessReport, RunSummary } from '../render/completeness.ts'
import { expectWritable, measurable, writeMetrics } from '../metrics-file.ts'
import { asJson, painter } from '../render/text.ts'
import { verifyMetrics } from './verify-metrics.ts'

interface Options extends ConnectionOptions {
  readonly completeness?: boolean
  readonly json?: boolean
  readonly metrics?: string
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
  measurable(connectable(command)).action((options: Options) => verify(options, terminal, exit))
}

async function verify(options: Options, terminal: Terminal, exit: (code: number) => void): Promise<void> {
  if (options.completeness !== true) {
    throw new InvalidInputError('OPTIONS_INVALID', 'verify: say what to check: --completeness')
  }
  expectWritable(options.metrics)
  // Until there is a verdict: the reader of the output may end this process before.
  exit(EXIT.notCompleted)
  const [startedAt, runs] = [Date.now(), new RunSummary()]
  const print = options.json === true ? printJson : printReport
  const printer = new Printer(terminal)
  const measure = async (exitCode: number, summary?: CompletenessSummary): Promise<void> => {
    if (options.metrics === undefined) return
    const fault = await writeMetrics(options.metrics, verifyMetrics({ exitCode, startedAt, summary, runs }))
    if (fault === undefined) return
    terminal.err(`agent-audit: ${fault}\n`)
    // A finding keeps its code.
    if (exitCode === EXIT.done) exit(EXIT.notCompleted)
  }
  try {
    const summary = await withTrail(options, terminal, (analytics) => print({ printer, analytics, terminal, runs }))
    const isEmpty = summary.partitions.length === 0
    const exitCode = isEmpty ? EXIT.notCompleted : EXIT_CODES[summary.verdict]
    if (isEmpty) terminal.err(`agent-audit: ${NOTHING}\n`)
    exit(exitCode)
    await measure(exitCode, summary)
  } catch (error) {
    await measure(error instanceof InvalidInputError ? EXIT.wrongUse : EXIT.notCompleted)
    throw error
  }
  await printer.flush()
}

const NOTHING = 'nothing to verify: the trail has no rows and no expiry notes, or all of them were removed'

interface Output {
  readonly printer: Printer
  readonly analytics: Analytics
  readonly terminal: Terminal
  /** Sums up the runs that are checked. */
  readonly runs: RunSummary
}

/** One object; the runs come first, as they are checked: there may be millions. */
async function printJson({ printer, analytics, runs }: Output): Promise<CompletenessSummary> {
  let before = '{"runs":['
  const summary = await checkCompleteness(analytics, async (run) => {
    runs.add(run)
    await printer.print(`${before}${asJson(run)}`)
    before = ','
  })
  await printer.print(`${before === ',' ? '' : before}],${asJson(summary).slice(1)}\n`)
  return summary
}

async function printReport({ printer, analytics, terminal, runs }: Output): Promise<CompletenessSummary> {
  const summary = await checkCompleteness(analytics, (run) => runs.add(run))
  await printer.print(completenessReport(summary, runs, painter(terminal.colors)))
  return summary
}
