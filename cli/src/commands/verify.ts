/** `agent-audit verify`: seals and completeness with a trust file, completeness alone without one. */
import { checkCompleteness, type CompletenessSummary } from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Command } from 'commander'
import { collect } from '../arguments.ts'
import { EXIT, Printer, type Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { completenessReport, RunSummary } from '../render/completeness.ts'
import { expectWritable, measurable, writeMetrics } from '../metrics-file.ts'
import { asJson, painter } from '../render/text.ts'
import { verifyMetrics } from './verify-metrics.ts'
import {
  type Output,
  parsePartition,
  readAnchors,
  type SealOptions,
  type Verified,
  verifySeals,
} from './verify-seals.ts'

interface Options extends ConnectionOptions, SealOptions {
  readonly completeness?: boolean
  readonly metrics?: string
}

const EXIT_CODES = { complete: 0, repeated: 1, conflict: 1, overstated: 1, gaps: 2, claimed: 4 } as const

export function addVerify(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('verify')
    .description('check that no event is missing, changed, added or stored twice')
    .option('--completeness', 'only that: every offset of every log partition, and every number of every run; no seals')
    .option('--trust <file>', 'whose seals count (default: AUDIT_TRUST_FILE); without it no seal is checked')
    .option('--root <vkey>', 'the root key that must have signed the trust file (default: AUDIT_ROOT_VKEY)')
    .option(
      '--checkpoints <file>',
      'checkpoints that a sink outside of the database has: a file, or s3://BUCKET/PREFIX (repeatable; default: AUDIT_CHECKPOINTS_FILE)',
      collect,
    )
    .option(
      '--partition <partition>',
      'the rows of this partition alone: a number, or <log_id>/<number>',
      parsePartition,
    )
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Exit codes with a trust file: 0 verified, 1 tampering, 2 incomplete: sealed records are not stored, or stored ones not sealed,
3 could not check: a key, a schema or a checkpoint is missing, or nothing is stored, 64 wrong use
Exit codes without: 0 complete, 1 repeated, altered, two records of one number or wrongly noted as expired, 2 gaps, 3 could not check,
or nothing is stored, 4 gaps that only another run or a dead letter explains, 64 wrong use`,
    )
  measurable(connectable(command)).action((options: Options) => verify(options, terminal, exit))
}

async function verify(options: Options, terminal: Terminal, exit: (code: number) => void): Promise<void> {
  const anchors = options.completeness === true ? undefined : await readAnchors(options, terminal.env)
  expectWritable(options.metrics)
  // Until there is a verdict: the reader of the output may end this process before.
  exit(EXIT.notCompleted)
  const [startedAt, runs] = [Date.now(), new RunSummary()]
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
    const { summary, exitCode: found } = await withTrail(options, terminal, (analytics) => {
      const output = { printer, analytics, terminal, runs }
      return anchors === undefined ? verifyCompleteness(output, options) : verifySeals(anchors, output, options)
    })
    // Seals without rows are no empty trail: their rows are gone.
    const isEmpty = summary?.partitions.length === 0 && found !== EXIT.finding
    const exitCode = isEmpty ? EXIT.notCompleted : found
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
const NOT_SIGNED = 'not signed: no seal was checked; --trust FILE names the keys whose seals count'

async function verifyCompleteness(output: Output, { json, completeness }: Options): Promise<Verified> {
  const print = json === true ? printJson : printReport
  const summary = await print(output, completeness === true ? undefined : NOT_SIGNED)
  return { summary, exitCode: EXIT_CODES[summary.verdict] }
}

/** One object; the runs come first, as they are checked: there may be millions. */
async function printJson(
  { printer, analytics, runs }: Output,
  notSigned: string | undefined,
): Promise<CompletenessSummary> {
  let before = '{"runs":['
  const summary = await checkCompleteness(analytics, async (run) => {
    runs.add(run)
    await printer.print(`${before}${asJson(run)}`)
    before = ','
  })
  const rest = asJson(notSigned === undefined ? summary : { ...summary, not_checked: [notSigned] })
  await printer.print(`${before === ',' ? '' : before}],${rest.slice(1)}\n`)
  return summary
}

async function printReport(
  { printer, analytics, terminal, runs }: Output,
  notSigned: string | undefined,
): Promise<CompletenessSummary> {
  const summary = await checkCompleteness(analytics, (run) => runs.add(run))
  await printer.print(completenessReport(summary, runs, painter(terminal.colors)))
  if (notSigned !== undefined) await printer.print(`\n${notSigned}\n`)
  return summary
}
