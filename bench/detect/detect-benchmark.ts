/** Measures the detectors as jobs: a day of events judged by `agent-audit detect run`, and the lag of `detect watch`. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Analytics } from '@agent-audit/analytics'
import type { DataDir } from '@agent-audit/embedded'
import { MeasuredProcess } from '../support/measured-process.ts'
import type { DetectPart } from './detect-figures.ts'
import { rounded } from '../support/results.ts'
import { environmentOf } from '../support/store.ts'
import { append, makeDay, PARTITIONS } from './detect-rows.ts'

const SCRIPT = 'cli/src/main.ts'
const MODULE = 'bench/detect/simple-detectors.ts'
const WATCH_EVENTS_PER_SECOND = 5000
const WATCH_SECONDS = 40
const INSERTS_PER_SECOND = 2

export interface DetectBenchmark {
  readonly dataDir: DataDir
  readonly admin: Analytics
  /** Events of the day. */
  readonly rows: number
  readonly say: (line: string) => void
}

export async function benchmarkDetect({ dataDir, admin, rows, say }: DetectBenchmark): Promise<DetectPart> {
  await makeDay(admin, rows, say)
  const env = environmentOf(dataDir.detector)
  const run = await measureRun(env, say)
  const watch = await measureWatch({ env, admin, rows, say })
  return { rows, partitions: PARTITIONS, run, watch }
}

async function measureRun(env: Record<string, string>, say: (line: string) => void): Promise<DetectPart['run']> {
  const child = new MeasuredProcess({ script: SCRIPT, args: ['detect', 'run', '--json', '--module', MODULE], env })
  const line = child.line(/^\{/)
  const { seconds, cpuSeconds, peakMb } = await child.measured()
  const found = JSON.parse((await line).line) as { events: number; sessions: number; findings: number }
  const { events, sessions, findings } = found
  const measured = { seconds: rounded(seconds, 1), cpuSeconds: rounded(cpuSeconds, 1), peakMb }
  say(
    `detect run: ${events} events, ${sessions} sessions read, ${findings} findings in ${measured.seconds} s; CPU ${measured.cpuSeconds} s, ${measured.peakMb} MB`,
  )
  return { events, sessions, findings, ...measured }
}

async function measureWatch({
  env,
  admin,
  rows,
  say,
}: Pick<DetectBenchmark, 'admin' | 'rows' | 'say'> & { env: Record<string, string> }): Promise<DetectPart['watch']> {
  const child = new MeasuredProcess({ script: SCRIPT, args: ['detect', 'watch', '--json', '--module', MODULE], env })
  await child.line(/watching/)
  const lags: Record<'session' | 'query', number[]> = { session: [], query: [] }
  let appended = 0
  const listening = (async () => {
    while (child.isAlive) {
      const { line } = await child.line(/^\{/)
      const judged = JSON.parse(line) as { unit: 'session' | 'query'; lagMs: number; events: number }
      if (judged.events > 0) lags[judged.unit].push(judged.lagMs)
    }
  })()
  const started = performance.now()
  const count = WATCH_EVENTS_PER_SECOND / INSERTS_PER_SECOND
  for (let insert = 0; insert < WATCH_SECONDS * INSERTS_PER_SECOND; insert++) {
    const [partition, round] = [insert % PARTITIONS, Math.floor(insert / PARTITIONS)]
    await append(admin, { partition, from: rows / PARTITIONS + round * count, count })
    appended += count
    await sleep(Math.max(0, started + ((insert + 1) * 1000) / INSERTS_PER_SECOND - performance.now()))
  }
  const eventsPerSecond = Math.round((appended * 1000) / (performance.now() - started))
  const peakMb = Math.round(child.mark().peakRssBytes / 2 ** 20)
  // The last line that it waits for does not come.
  listening.catch(() => undefined)
  await child.stop()
  const watch = {
    eventsPerSecond,
    sessionLagSeconds: mostSeconds(lags.session),
    queryLagSeconds: mostSeconds(lags.query),
    peakMb,
  }
  say(
    `detect watch: at ${eventsPerSecond} events/s at most ${watch.sessionLagSeconds} s behind with sessions, ${watch.queryLagSeconds} s with queries; ${peakMb} MB`,
  )
  return watch
}

function mostSeconds(ms: readonly number[]): number {
  return rounded(Math.max(0, ...ms) / 1000, 1)
}
