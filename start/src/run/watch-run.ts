/** Watching a run on its way into the table. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Place } from './deployment.ts'
import type { Progress } from '../progress.ts'
import { figure } from '../result/report.ts'
import type { Recording } from './counted-trail.ts'
import { countStored } from './stored-run.ts'
import type { ConsumerProcess } from './consumer-process.ts'

export interface Watch {
  readonly place: Place
  readonly consumer: ConsumerProcess
  readonly recording: Recording
  readonly progress: Progress
}

const POLL_MS = 200
const NEVER = new AbortController().signal
/** After so many seconds without one, the reader is told why that can be. */
const PATIENCE_S = 3
const WHY_NOTHING_IS_NEW = 'after a kill, the consumer lets the lease of the killed one run out'

/**
 * Shows how far everything is while `work` goes on. The signal it is given is aborted with `stop`, and when a part it
 * needs is lost.
 * @throws What `work` throws; TrailError of the part that was lost, once `work` has ended.
 */
export async function showWhile<T>(
  watch: Watch,
  work: (stop: AbortSignal) => Promise<T>,
  { what, stop }: { readonly what: () => string; readonly stop: AbortSignal },
): Promise<T> {
  const { place, consumer, recording } = watch
  const done = new AbortController()
  const lost = new AbortController()
  const watching = (async () => {
    while (!done.signal.aborted) {
      const { events } = await countStored(place.reader, recording.runId)
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
 * Waits until as many different events of the run are stored as were accepted, or nothing has come for `stallS` seconds.
 * @returns false when it gave up, or `stop` was aborted.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if the consumer has ended.
 */
export async function waitUntilStored(
  watch: Watch,
  { stallS, stop = NEVER }: { readonly stallS: number; readonly stop?: AbortSignal },
): Promise<boolean> {
  const { place, consumer, recording } = watch
  let before = -1
  let movedAt = performance.now()
  while (!stop.aborted) {
    const { events } = await countStored(place.reader, recording.runId)
    if (events > before) movedAt = performance.now()
    before = events
    const idleS = Math.floor((performance.now() - movedAt) / 1000)
    show(watch, idleS < PATIENCE_S ? 'writing' : `nothing new for ${idleS} s (${WHY_NOTHING_IS_NEW})`, events)
    if (events >= recording.accepted) return true
    if (idleS > stallS) return false
    consumer.check()
    await sleep(POLL_MS, undefined, { signal: stop }).catch(() => undefined)
  }
  return false
}

function show({ recording, progress }: Watch, what: string, stored: number): void {
  const { accepted, acked } = recording
  progress.update(`${what}: ${figure(accepted)} events recorded, ${figure(acked)} in the log, ${figure(stored)} stored`)
}
