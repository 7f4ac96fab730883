/** `agent-audit verify`: all that can be checked with the seals, the trust file and the checkpoints that there are. */
import { checkCompleteness, type CompletenessSummary, hasSeals } from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import { type Command, Option } from 'commander'
import { collect, parseCount, parseTime } from '../arguments.ts'
import { EXIT, Printer, type Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { completenessReport, RunSummary } from '../render/completeness.ts'
import { expectWritable, measurable, writeMetrics } from '../metrics-file.ts'
import { asJson, painter } from '../render/text.ts'
import { verifyMetrics } from './verify-metrics.ts'
import { type Anchors, type Output, parsePartition, readAnchors, type Verified, verifySeals } from './verify-seals.ts'
import { verifySession } from './verify-session.ts'
import { memoryState } from './verify-state.ts'
import { type WatchOptions, watchTrail } from './verify-watch.ts'

interface Options extends ConnectionOptions, Omit<WatchOptions, 'watch'> {
  readonly completeness?: boolean
  /** Seconds. */
  readonly watch?: number | true
}

const EXIT_CODES = { complete: 0, repeated: 1, conflict: 1, overstated: 1, gaps: 2, claimed: 4 } as const

export function addVerify(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('verify')
    .description('check that no event is missing, changed, added or stored twice')
    .option('--completeness', 'only that: every offset of every log partition, and every number of every run; no seals')
    .option('--trust <file>', 'whose seals count (default: AUDIT_TRUST_FILE, or the file "trust" of --data-dir)')
    .option('--root <vkey>', 'the root key that must have signed the trust file (default: AUDIT_ROOT_VKEY)')
    .option(
      '--checkpoints <file>',
      'checkpoints that a sink outside of the database has: a file, or s3://BUCKET/PREFIX (repeatable; default: AUDIT_CHECKPOINTS_FILE)',
      collect,
    )
    .option(
      '--state <file>',
      "this verifier's own: go on from what it has verified before (default: AUDIT_VERIFY_STATE)",
    )
    .option('--full', 'read all, whatever was verified before')
    .option(
      '--partition <partition>',
      'the rows of this partition alone: a number, or <log_id>/<number>',
      parsePartition,
    )
    .option('--since <time>', 'the rows appended since then alone: 24h, 7d, or 2026-11-24T10:00:00Z', parseTime)
    .addOption(
      new Option('--session <id>', 'one session alone, as evidence export proves it').conflicts([
        'partition',
        'since',
        'completeness',
        'state',
      ]),
    )
    .addOption(
      new Option(
        '--kafka',
        'look for missing and changed records in the log, while it keeps them; with --data-dir in the embedded log',
      ).conflicts(['partition', 'since', 'session', 'completeness']),
    )
    .option('--settle <seconds>', 'what is younger may wait for its seal: no finding', parseCount(0, 86_400), 60)
    .option('--watch [seconds]', 'verify what is new so often, until SIGTERM (default: 60)', parseCount(1, 86_400))
    .option('--record', 'with --watch: record each result as the event integrity.verified')
    .option(
      '--brokers <list>',
      'Kafka for --kafka and --record, host:port separated by commas (default: KAFKA_BROKERS)',
    )
    .option('--topic <name>', 'topic of the events (default: audit.events)')
    .option('--metrics-port <n>', 'with --watch: serve /metrics and /healthz on this port', parseCount(0, 65_535))
    .option('--metrics-host <address>', 'the address of that port; 0.0.0.0 in a container', '127.0.0.1')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
Exit codes: 0 verified, 1 tampering, 2 incomplete: sealed records are not stored, stored ones not sealed, or numbers have gaps,
3 could not check: a key, a schema or a checkpoint is missing, or nothing is stored, 64 wrong use. With --completeness alone also
4: gaps that only another run or a dead letter explains. Without a trust file no key is checked; without seals only completeness is.`,
    )
  measurable(connectable(command)).action((options: Options) =>
    options.watch === undefined ? verify(options, terminal, exit) : watch(options, terminal, exit),
  )
}

const WATCH_SECONDS = 60

async function watch(options: Options, terminal: Terminal, exit: (code: number) => void): Promise<void> {
  expectWritable(options.metrics)
  // In the process without a file: what a service has verified, it need not read again.
  const memory = memoryState()
  const seconds = options.watch === true || options.watch === undefined ? WATCH_SECONDS : options.watch
  await watchTrail({ ...options, watch: seconds }, terminal, async (output) => {
    // Read each time: the sink's file grows.
    const anchors = options.completeness === true ? undefined : await readAnchors(options, terminal.env)
    return anchors === undefined
      ? verifyCompleteness(output, options)
      : verifyAll(anchors, { ...output, memory }, options)
  })
  exit(EXIT.done)
}

async function verify(options: Options, terminal: Terminal, exit: (code: number) => void): Promise<void> {
  const anchors = options.completeness === true ? undefined : await readAnchors(options, terminal.env)
  expectWritable(options.metrics)
  // Until there is a verdict: the reader of the output may end this process before.
  exit(EXIT.notCompleted)
  const [startedAt, runs] = [Date.now(), new RunSummary()]
  const printer = new Printer(terminal)
  const measure = async (exitCode: number, { summary, report }: Partial<Verified> = {}): Promise<void> => {
    if (options.metrics === undefined) return
    const fault = await writeMetrics(options.metrics, verifyMetrics({ exitCode, startedAt, summary, runs, report }))
    if (fault === undefined) return
    terminal.err(`agent-audit: ${fault}\n`)
    // A finding keeps its code.
    if (exitCode === EXIT.done) exit(EXIT.notCompleted)
  }
  try {
    const verified = await withTrail(options, terminal, (analytics, logDir) => {
      const output = { printer, analytics, terminal, runs, logDir }
      return anchors === undefined ? verifyCompleteness(output, options) : verifyAll(anchors, output, options)
    })
    const { summary, exitCode: found } = verified
    // Seals without rows are no empty trail: their rows are gone.
    const isEmpty = summary?.partitions.length === 0 && found !== EXIT.finding
    const exitCode = isEmpty ? EXIT.notCompleted : found
    if (isEmpty) terminal.err(`agent-audit: ${NOTHING}\n`)
    exit(exitCode)
    await measure(exitCode, verified)
  } catch (error) {
    await measure(error instanceof InvalidInputError ? EXIT.wrongUse : EXIT.notCompleted)
    throw error
  }
  await printer.flush()
}

const NOTHING = 'nothing to verify: the trail has no rows and no expiry notes, or all of them were removed'
const NOT_SIGNED =
  'not signed: the trail has no seals, so an administrator of the database can change it without a trace'

/** Everything that can be checked with what is there. */
async function verifyAll(anchors: Anchors, output: Output, options: Options): Promise<Verified> {
  const { session } = options
  if (session !== undefined) return verifySession(anchors, output, { session, json: options.json })
  if (anchors.trust !== undefined || (await hasSeals(output.analytics))) return verifySeals(anchors, output, options)
  const { partition, since, kafka } = options
  if (partition === undefined && since === undefined && kafka !== true) return verifyCompleteness(output, options)
  const message = 'verify: --partition, --since and --kafka compare rows with seals, and the trail has none'
  throw new InvalidInputError('OPTIONS_INVALID', message)
}

async function verifyCompleteness(output: Output, { json, completeness }: Options): Promise<Verified> {
  const print = json === true ? printJson : printReport
  const summary = await print(output, completeness === true ? undefined : NOT_SIGNED)
  const code = EXIT_CODES[summary.verdict]
  return { summary, exitCode: completeness !== true && code === EXIT_CODES.claimed ? EXIT_CODES.gaps : code }
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
