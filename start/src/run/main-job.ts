/** From the first event to the last row. */
import { InvalidInputError } from '@agent-audit/schemas'
import type { ConsumerProcess } from './consumer-process.ts'
import type { Job } from '../jobs.ts'
import type { Place } from './deployment.ts'
import type { Progress } from '../progress.ts'
import { type Recording, startRecording } from './counted-trail.ts'
import { figure, type Outcome } from '../result/report.ts'
import { readStoredRun } from './stored-run.ts'
import { showWhile, waitUntilStored } from './watch-run.ts'

export interface MainJob {
  readonly job: Job
  readonly place: Place
  readonly consumer: ConsumerProcess
  readonly progress: Progress
  /** Aborted: no more is recorded, the producer is closed, and nothing more is waited for. */
  readonly stop: AbortSignal
}

/** For everything recorded to reach the log; what is left then stays in the spool, and goes out with the next run. */
const FLUSH_TIMEOUT_MS = 120_000
const HURRIED_FLUSH_TIMEOUT_MS = 10_000
/** Longest time without a new row, seconds: above the wait of a consumer for the lease of one that was killed. */
const STALL_S = 60
/** The same once the run was interrupted: somebody waits for it to end. */
const HURRIED_STALL_S = 10

/** Records the job through a producer of its own, and waits until the consumer has stored it. */
export async function recordAndStore({ job, place, consumer, progress, stop }: MainJob): Promise<Outcome> {
  const recording = startRecording({
    ...job.producer,
    ...place.log.producer,
    // Signals are ours to handle: the trail is closed in order.
    handleExit: false,
    onProblem: (problem) => progress.say(`producer: ${problem.message}`),
  })
  const watch = { place, consumer, recording, progress }
  const began = performance.now()
  const what = (): string => `${figure(recording.sessions)} sessions`
  const incomplete = await showWhile(watch, (until) => record(job, recording, until), { what, stop })
  if (!stop.aborted) await waitUntilStored(watch, { stallS: STALL_S, stop })
  if (stop.aborted) {
    // A consumer that drains writes what it has in hand and reads no further: it is given time to read all first.
    await waitUntilStored(watch, { stallS: HURRIED_STALL_S })
    await consumer.stop()
  }
  const seconds = (performance.now() - began) / 1000
  progress.end()
  const query = { runId: recording.runId, logId: place.log.logId, since: recording.startedAt }
  const stored = await readStoredRun(place.reader, query)
  if (stop.aborted) {
    const left = recording.accepted - stored.events
    const rest = left === 0 ? '' : `; the other ${figure(left)} are safe, the next start on this directory stores them`
    progress.say(`stopped: ${figure(recording.accepted)} events accepted, ${figure(stored.events)} stored${rest}`)
  }
  return { recording, stored, seconds, incomplete }
}

/** @returns Why the input was not recorded whole, if so: what came before is closed and stored like any other. */
async function record(job: Job, recording: Recording, stop: AbortSignal): Promise<string | undefined> {
  try {
    await job.run(recording, stop)
    return undefined
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error
    return error.message
  } finally {
    // Closing covers the errors too: whatever was accepted goes out.
    await recording.close(stop.aborted ? HURRIED_FLUSH_TIMEOUT_MS : FLUSH_TIMEOUT_MS)
  }
}
