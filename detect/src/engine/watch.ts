/** Runs an engine until it is told to stop, a few seconds behind the log. */
import { setTimeout as sleep } from 'node:timers/promises'
import { TrailError } from '@agent-audit/schemas'
import type { Detector } from '../detector.ts'
import type { Engine, Judged } from './engine.ts'

export interface WatchOptions {
  /** Ends the watch, in order: after the page in hand. */
  readonly signal: AbortSignal
  /** Shortest time from one look at the log to the next, milliseconds. @defaultValue 2000 */
  readonly everyMs?: number | undefined
  /** Told what was judged, also nothing. */
  readonly onJudged?: ((judged: Judged, unit: Detector['unit']) => void) | undefined
  /** Told of an error that may pass. */
  readonly onProblem?: ((error: TrailError) => void) | undefined
}

const EVERY_MS = 2000
/** Query detectors read much history: they run for at most a third of the time. */
const QUERY_REST = 2
const BACK_OFF_MS = { first: 1000, longest: 30_000 }

/** @throws TrailError that does not pass by itself: as {@link Engine.checkUser} to begin with. */
export async function watch(engine: Engine, options: WatchOptions): Promise<void> {
  const { signal, everyMs = EVERY_MS, onJudged, onProblem } = options
  let [queriesAt, pauseMs, isChecked] = [0, BACK_OFF_MS.first, false]
  while (!signal.aborted) {
    const started = performance.now()
    try {
      if (!isChecked) await engine.checkUser()
      isChecked = true
      onJudged?.(await engine.judgeSessions(signal), 'session')
      if (performance.now() >= queriesAt && !signal.aborted) {
        const from = performance.now()
        onJudged?.(await engine.judgeQueries(signal), 'query')
        const now = performance.now()
        queriesAt = now + Math.max(everyMs, QUERY_REST * (now - from))
      }
      pauseMs = BACK_OFF_MS.first
      await pause(everyMs - (performance.now() - started), signal)
    } catch (error) {
      if (!(error instanceof TrailError && error.retryable)) throw error
      onProblem?.(error)
      await pause(pauseMs, signal)
      pauseMs = Math.min(2 * pauseMs, BACK_OFF_MS.longest)
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0) return
  await sleep(ms, undefined, { signal }).catch(() => undefined)
}
