/** Watches the events of a run until they are in the table. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Deployment } from './deployment.ts'
import { figure, type Progress } from '../progress.ts'
import type { CountedTrail } from './counted-trail.ts'
import { countStored } from './stored-run.ts'
import type { ConsumerProcess } from './consumer-process.ts'

export interface Watch {
  readonly deployment: Deployment
  readonly consumer: ConsumerProcess
  readonly trail: CountedTrail
  readonly progress: Progress
}

const POLL_MS = 200
const NEVER = new AbortController().signal
/** After so many seconds without a new row, the line says why that can be. */
const PATIENCE_S = 3
const WHY_NOTHING_IS_NEW = 'after a kill, the consumer waits until the lease of the killed one has expired'

/**
 * Shows the progress while `work` runs. The signal that `work` gets is aborted with `stop`, and when the consumer or
 * ClickHouse fails.
 * @throws The error of `work`; else, once `work` has ended, the TrailError of the part that failed.
 */
export async function showWhile<T>(
  watch: Watch,
  work: (stop: AbortSignal) => Promise<T>,
  { what, stop }: { readonly what: () => string; readonly stop: AbortSignal },
): Promise<T> {
  const { deployment, consumer, trail } = watch
  const done = new AbortController()
  const lost = new AbortController()
  const watching = (async () => {
    while (!done.signal.aborted) {
      const { events } = await countStored(deployment.reader, trail.runId)
      show(watch, what(), events)
      consumer.check()
      await sleep(POLL_MS, undefined, { signal: done.signal }).catch(() => undefined)
    }
  })().catch((error: unknown) => lost.abort(error))
  try {
    return await work(AbortSignal.any([stop, lost.signal]))
  } finally {
    done.abort()
    await watching
    if (!stop.aborted) lost.signal.throwIfAborted()
  }
}

/**
 * Waits until as many different events of the run are stored as were accepted, or no new one for `stallS` seconds.
 * @returns false when it gave up, or `stop` was aborted.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if the consumer has ended.
 */
export async function waitUntilStored(
  watch: Watch,
  { stallS, stop = NEVER }: { readonly stallS: number; readonly stop?: AbortSignal },
): Promise<boolean> {
  const { deployment, consumer, trail } = watch
  let before = -1
  let changedAt = performance.now()
  while (!stop.aborted) {
    const { events } = await countStored(deployment.reader, trail.runId)
    if (events > before) changedAt = performance.now()
    before = events
    const idleS = Math.floor((performance.now() - changedAt) / 1000)
    show(watch, idleS < PATIENCE_S ? 'writing' : `nothing new for ${idleS} s (${WHY_NOTHING_IS_NEW})`, events)
    if (events >= trail.accepted) return true
    if (idleS > stallS) return false
    consumer.check()
    await sleep(POLL_MS, undefined, { signal: stop }).catch(() => undefined)
  }
  return false
}

function show({ trail, progress }: Watch, what: string, stored: number): void {
  const { accepted, acked } = trail
  progress.update(`${what}: ${figure(accepted)} events recorded, ${figure(acked)} in the log, ${figure(stored)} stored`)
}
