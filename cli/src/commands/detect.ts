/** `agent-audit detect`: runs detectors, and shows what they found. */
import type * as Detect from '@agent-audit/detect'
import { InvalidInputError } from '@agent-audit/schemas'
import { type Command, Option } from 'commander'
import { ALERT_HELP, alertTargets } from '../alert-targets.ts'
import { collect, parseCount } from '../arguments.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { expectWritable, measurable, writeMetrics } from '../metrics-file.ts'
import { DetectMetrics } from '../detect-metrics.ts'
import { serveMetrics } from '../metrics-server.ts'
import { withKeys } from '../key-store.ts'
import { asJson, counted, printable } from '../render/text.ts'
import { EXIT, type Terminal } from '../terminal.ts'
import { addDecisions } from './finding-decisions.ts'
import { addExplain, addList } from './findings.ts'
import { readTrust } from './why.ts'

interface Options extends ConnectionOptions {
  readonly module?: string[]
  readonly thresholds?: string
  readonly only?: string[]
  readonly trust?: string
  readonly root?: string
  readonly alertSeverity: Detect.Severity
  readonly metrics?: string
  readonly json?: boolean
}

interface WatchOptions extends Options {
  readonly every: number
  readonly metricsPort?: number
  readonly metricsHost: string
}

const AFTER_HELP = `
The user inserts findings: CLICKHOUSE_USER=audit_detector (docs/detect.md). run and watch exit with 3 if a detector failed.
${ALERT_HELP}`

export function addDetect(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const group = program.command('detect').description('run detectors of anomalies, and show what they found')
  const run = group
    .command('run')
    .description('judge once what is new in the log, to its end')
    .option('--json', 'one JSON object')
    .addHelpText('after', AFTER_HELP)
  measurable(runnable(run)).action((options: Options) => runOnce(options, terminal, exit))
  const watch = group
    .command('watch')
    .description('judge what is new every few seconds, until SIGTERM or SIGINT')
    .option('--every <seconds>', 'shortest time between two looks at the log', parseCount(1, 3600), 2)
    .option('--metrics-port <n>', 'serve /metrics and /healthz on this port', parseCount(0, 65_535))
    .option('--metrics-host <address>', 'the address of that port; 0.0.0.0 in a container', '127.0.0.1')
    .option('--json', 'one JSON object a line')
    .addHelpText('after', AFTER_HELP)
  runnable(watch).action((options: WatchOptions) => watchLog(options, terminal, exit))
  addList(group, terminal)
  addExplain(group, terminal, exit)
  addDecisions(group, terminal)
}

/** Adds the options of commands that run detectors. */
function runnable(command: Command): Command {
  return withKeys(connectable(command))
    .option('--module <file>', 'also the detectors that this module exports (repeatable)', collect)
    .option('--thresholds <file>', 'JSON: thresholds that replace those of a detector, by its name')
    .option('--trust <file>', 'also approval.forged: verify the signatures of approvals by this trust file')
    .option('--root <vkey>', 'with --trust: the root key that must have signed it')
    .option('--only <detector>', 'only this detector (repeatable)', collect)
    .addOption(
      new Option('--alert-severity <level>', 'the least grave finding that is an alert')
        .choices(['info', 'low', 'medium', 'high', 'critical'])
        .default('high'),
    )
}

/** The detectors of the project and of the user's modules, and the thresholds that replace theirs. */
export async function chosenDetectors(
  detect: typeof Detect,
  { module = [], thresholds, only, ...keys }: Pick<Options, 'module' | 'thresholds' | 'only' | 'trust' | 'root'>,
): Promise<Detect.EngineOptions> {
  const own = await Promise.all(module.map((path) => detect.loadDetectors(path)))
  const trust = await readTrust(keys)
  const signed = trust === undefined ? [] : [detect.forgedApprovals(trust)]
  const all = detect.joined(detect.DETECTORS, signed, ...own)
  const replaced = thresholds === undefined ? {} : detect.readThresholds(thresholds, all)
  for (const name of only ?? []) {
    if (all.some((each) => each.name === name)) continue
    throw new InvalidInputError('OPTIONS_INVALID', `--only ${printable(name)}: ${detect.noSuchDetector(name, all)}`)
  }
  const detectors = only === undefined ? all : all.filter(({ name }) => only.includes(name))
  if (detectors.length === 0) throw new InvalidInputError('OPTIONS_INVALID', 'no detectors: give --module')
  return { detectors, thresholds: replaced }
}

/** Tries of alerts that a run makes, with a pause between two. What is left, the next run sends. */
const RUN_ROUNDS = 4
const ROUND_PAUSE_MS = 1100

async function runOnce(options: Options, terminal: Terminal, exit: (code: number) => void): Promise<void> {
  expectWritable(options.metrics)
  const detect = await import('@agent-audit/detect')
  const engineOptions = await chosenDetectors(detect, options)
  const targets = alertTargets(detect, terminal.env)
  const metrics = new DetectMetrics()
  exit(EXIT.notCompleted)
  const summary = await withTrail(
    options,
    terminal,
    async (analytics) => {
      const engine = new detect.Engine(analytics, engineOptions)
      await engine.checkUser()
      await using alerts = new detect.Alerts(analytics, targets, alertOptions(options, terminal, metrics))
      const sum = await judgeToEnd(engine, metrics)
      return { ...sum, alerts: await deliverAll(alerts, metrics) }
    },
    'detector',
  )
  exit(summary.failed.length > 0 || summary.alerts.waiting > 0 ? EXIT.notCompleted : EXIT.done)
  if (options.metrics !== undefined) {
    const fault = await writeMetrics(options.metrics, metrics.ofRun())
    if (fault !== undefined) terminal.err(`agent-audit: ${fault}\n`)
  }
  terminal.out(options.json === true ? `${asJson(summary)}\n` : summaryText(summary))
  const { events, failed, alerts } = summary
  if (events === 0) terminal.err('agent-audit: nothing new in the log\n')
  if (failed.length > 0) terminal.err(`agent-audit: failed: ${failed.map((name) => printable(name)).join(', ')}\n`)
  if (alerts.waiting > 0)
    terminal.err(`agent-audit: ${counted(alerts.waiting, 'alert')} not taken; the next run tries again\n`)
}

function summaryText({ events, sessions, findings, alerts }: Sum & { readonly alerts: Detect.Delivered }): string {
  const judged = `judged ${counted(events, 'new event')}, read ${counted(sessions, 'session')}`
  return `${judged}: ${counted(findings, 'new finding')}, ${counted(alerts.delivered, 'alert')}\n`
}

type Sum = Pick<Detect.Judged, 'events' | 'sessions' | 'findings' | 'failed'>

async function judgeToEnd(engine: Detect.Engine, metrics: DetectMetrics): Promise<Sum> {
  let [events, sessions, findings] = [0, 0, 0]
  const failed = new Set<string>()
  const add = (judged: Detect.Judged, unit: Detect.Detector['unit']): void => {
    metrics.judged(judged, unit)
    sessions += judged.sessions
    findings += judged.findings
    for (const name of judged.failed) failed.add(name)
  }
  for (let more = true; more;) {
    const judged = await engine.judgeSessions()
    add(judged, 'session')
    events += judged.events
    more = judged.moved
  }
  const queries = await engine.judgeQueries()
  add(queries, 'query')
  return { events: Math.max(events, queries.events), sessions, findings, failed: [...failed] }
}

async function deliverAll(alerts: Detect.Alerts, metrics: DetectMetrics): Promise<Detect.Delivered> {
  let [delivered, waiting] = [0, 0]
  for (let round = 0; round < RUN_ROUNDS; round++) {
    if (round > 0) await new Promise((resolve) => setTimeout(resolve, ROUND_PAUSE_MS * round))
    const found = await alerts.deliver()
    metrics.delivered(found)
    delivered += found.delivered
    waiting = found.waiting
    if (waiting === 0) break
  }
  return { delivered, waiting }
}

async function watchLog(options: WatchOptions, terminal: Terminal, exit: (code: number) => void): Promise<void> {
  const detect = await import('@agent-audit/detect')
  const engineOptions = await chosenDetectors(detect, options)
  const targets = alertTargets(detect, terminal.env)
  const metrics = new DetectMetrics()
  using stop = onSignals()
  const report = (judged: Detect.Judged, unit: Detect.Detector['unit']): void => {
    metrics.judged(judged, unit)
    if (options.json === true) {
      if (judged.moved || judged.findings > 0) terminal.out(`${asJson({ unit, ...judged })}\n`)
      return
    }
    if (judged.findings > 0) terminal.out(`${counted(judged.findings, 'new finding')}\n`)
    for (const name of judged.failed) terminal.err(`agent-audit: detector ${printable(name)} failed\n`)
  }
  const onProblem = (error: Error): void => {
    metrics.problem()
    terminal.err(`agent-audit: ${printable(error.message)}\n`)
  }
  using server =
    options.metricsPort === undefined
      ? undefined
      : await serveMetrics(() => metrics.text(), { port: options.metricsPort, host: options.metricsHost })
  await withTrail(
    options,
    terminal,
    async (analytics) => {
      const engine = new detect.Engine(analytics, engineOptions)
      const everyMs = options.every * 1000
      await using alerts = new detect.Alerts(analytics, targets, alertOptions(options, terminal, metrics))
      const where = server === undefined ? '' : `, metrics at ${server.url}/metrics`
      terminal.err(`agent-audit: watching with ${counted(engineOptions.detectors.length, 'detector')}${where}\n`)
      const sending = alerts.deliverUntil(stop.signal, { everyMs, onDelivered: (round) => metrics.delivered(round) })
      try {
        await detect.watch(engine, { signal: stop.signal, everyMs, onJudged: report, onProblem })
      } finally {
        stop.abort()
        await sending
      }
    },
    'detector',
  )
  exit(EXIT.done)
}

function alertOptions(options: Options, terminal: Terminal, metrics: DetectMetrics): Detect.AlertOptions {
  return {
    severity: options.alertSeverity,
    onProblem: (target, reason) => {
      metrics.alertProblem()
      terminal.err(`agent-audit: alert to ${printable(target)}: ${printable(reason)}\n`)
    },
  }
}

interface Stop extends Disposable {
  readonly signal: AbortSignal
  abort(): void
}

/** Aborted by the first SIGTERM or SIGINT; a second one has its default action. */
function onSignals(): Stop {
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  const signals = ['SIGTERM', 'SIGINT'] as const
  for (const signal of signals) process.once(signal, onSignal)
  return {
    signal: stop.signal,
    abort: () => stop.abort(),
    [Symbol.dispose]: () => {
      for (const signal of signals) process.off(signal, onSignal)
    },
  }
}
