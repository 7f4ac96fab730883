/** Watching a run on its way into the table. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Place } from './place.ts'
import type { Progress } from './progress.ts'
import { figure } from './report.ts'
import type { Recording } from './recording.ts'
import { countStored } from './stored.ts'
import type { ConsumerProcess } from './consumer-process.ts'

export interface Watch {
  readonly place: Place
  readonly consumer: ConsumerProcess
  readonly recording: Recording
  readonly progress: Progress
}

const POLL_MS = 200
/** Longest time without a new row: above the wait of a consumer for the lease of one that was killed. */
const STALL_MS = 60_000

/** Shows how far everything is while `work` goes on. */
export async function showWhile<T>(watch: Watch, what: () => string, work: Promise<T>): Promise<T> {
  const done = new AbortController()
  const watching = (async () => {
    while (!done.signal.aborted) {
      const { events } = await countStored(watch.place.reader, watch.recording.runId)
      show(watch, what(), events)
      await sleep(POLL_MS, undefined, { signal: done.signal }).catch(() => undefined)
    }
  })()
  try {
    return await work
  } finally {
    done.abort()
    await watching
  }
}

/**
 * Waits until as many different events of the run are stored as were accepted, or nothing comes any more.
 * @returns false when it gave up, or `stop` was aborted.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if the consumer has ended.
 */
export async function waitUntilStored(watch: Watch, stop: AbortSignal): Promise<boolean> {
  const { place, consumer, recording } = watch
  let before = -1
  let movedAt = performance.now()
  while (!stop.aborted) {
    const { events } = await countStored(place.reader, recording.runId)
    show(watch, 'writing', events)
    if (events >= recording.accepted) return true
    if (events > before) movedAt = performance.now()
    before = events
    if (performance.now() - movedAt > STALL_MS) return false
    consumer.check()
    await sleep(POLL_MS, undefined, { signal: stop }).catch(() => undefined)
  }
  return false
}

function show({ recording, progress }: Watch, what: string, stored: number): void {
  const { accepted, acked } = recording
  progress.update(`${what}: ${figure(accepted)} events recorded, ${figure(acked)} in the log, ${figure(stored)} stored`)
}
