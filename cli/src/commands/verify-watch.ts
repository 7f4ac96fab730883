/** `agent-audit verify --watch`: verifies what is new, again and again, until SIGTERM or SIGINT. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Analytics } from '@agent-audit/analytics'
import { InvalidInputError, TrailError } from '@agent-audit/schemas'
import { withTrail } from '../connect.ts'
import { metricsText, writeMetrics } from '../metrics-file.ts'
import { serveMetrics } from '../metrics-server.ts'
import { destinationOf, type RecordEvent, withRecorder } from '../record-event.ts'
import { RunSummary } from '../render/completeness.ts'
import { asJson, printable } from '../render/text.ts'
import { EXIT, Printer, type Terminal } from '../terminal.ts'
import { verifyMetrics, type VerifyOutcome } from './verify-metrics.ts'
import type { Output, SealOptions, Verified } from './verify-seals.ts'

export interface WatchOptions extends SealOptions {
  /** Seconds between two rounds. */
  readonly watch: number
  readonly record?: boolean
  readonly topic?: string
  readonly metrics?: string
  readonly metricsPort?: number
  readonly metricsHost: string
}

/** agent_id of the events. */
const VERIFYING_AGENT = 'agent-audit'

/** @param round - One run of verify, which prints its report. */
export async function watchTrail(
  options: WatchOptions,
  terminal: Terminal,
  round: (output: Output) => Promise<Verified>,
): Promise<void> {
  const signal = terminal.interrupted?.() ?? new AbortController().signal
  let metrics = verifyMetrics({
    exitCode: EXIT.notCompleted,
    startedAt: Date.now(),
    summary: undefined,
    runs: new RunSummary(),
  })
  using server =
    options.metricsPort === undefined
      ? undefined
      : await serveMetrics(() => metricsText(metrics), { port: options.metricsPort, host: options.metricsHost })
  await withTrail(options, terminal, async (analytics, logDir) => {
    const where = server === undefined ? '' : `, metrics at ${server.url}/metrics`
    terminal.err(`agent-audit: verifying every ${options.watch} s${where}\n`)
    const watch = async (record: RecordEvent | undefined): Promise<void> => {
      while (!signal.aborted) {
        const outcome = await verifyOnce({ analytics, terminal, round, signal, logDir })
        if (outcome === undefined) return
        metrics = verifyMetrics(outcome)
        const fault = options.metrics === undefined ? undefined : await writeMetrics(options.metrics, metrics)
        if (fault !== undefined) terminal.err(`agent-audit: ${fault}\n`)
        await recordOutcome(outcome, record, terminal)
        await sleep(options.watch * 1000, undefined, { signal }).catch(() => undefined)
      }
    }
    if (options.record !== true) return watch(undefined)
    const destination = destinationOf(options, terminal, { logDir, command: 'verify --record' })
    return withRecorder({ ...destination, agentId: VERIFYING_AGENT }, watch)
  })
}

interface Round {
  readonly analytics: Analytics
  readonly terminal: Terminal
  readonly round: (output: Output) => Promise<Verified>
  readonly signal: AbortSignal
  readonly logDir: string | undefined
}

/** @returns undefined, if the signal has ended it: it has no result. */
async function verifyOnce({ analytics, terminal, round, signal, logDir }: Round): Promise<VerifyOutcome | undefined> {
  const [startedAt, runs, printer] = [Date.now(), new RunSummary(), new Printer(terminal)]
  try {
    const { summary, exitCode, report } = await round({ printer, analytics, terminal, runs, signal, logDir })
    await printer.flush()
    return { exitCode, startedAt, summary, runs, report }
  } catch (error) {
    if (signal.aborted) return undefined
    // A wrong option is wrong in the next round too; a server that is away may be back then.
    if (!(error instanceof TrailError) || error instanceof InvalidInputError) throw error
    terminal.err(`agent-audit: ${printable(error.message)}\n`)
    return { exitCode: EXIT.notCompleted, startedAt, summary: undefined, runs }
  }
}

const VERDICTS = ['verified', 'tampering', 'incomplete', 'could not check', 'incomplete']

/** The result, as an event of the trail: who reads it later sees when the trail was verified last, and up to where. */
async function recordOutcome(
  { exitCode, startedAt, report }: VerifyOutcome,
  record: RecordEvent | undefined,
  terminal: Terminal,
): Promise<void> {
  if (record === undefined) return
  const sealed = report === undefined ? {} : { tier: report.tier, leaves: report.seals.leaves, from: report.from }
  const findings = report?.findings.slice(0, 20).map(({ code, message }) => `${code}: ${message}`)
  const counted = { events: report?.events, counts: report?.counts, findings, ...sealed }
  const content = { exit_code: exitCode, seconds: (Date.now() - startedAt) / 1000, ...counted }
  try {
    const verdict = VERDICTS[exitCode] ?? 'could not check'
    await record({
      event_type: 'integrity.verified',
      reason: verdict,
      content: JSON.parse(asJson(content)) as Record<string, unknown>,
    })
  } catch (error) {
    if (!(error instanceof TrailError)) throw error
    terminal.err(`agent-audit: the result is not recorded: ${printable(error.message)}\n`)
  }
}
