/** From the first event to the last row. */
import { InvalidInputError } from '@agent-audit/schemas'
import type { ConsumerProcess } from './consumer-process.ts'
import type { Job } from '../jobs.ts'
import type { Deployment } from './deployment.ts'
import { figure, type Progress } from '../progress.ts'
import { type CountedTrail, startCountedTrail } from './counted-trail.ts'
import { readStoredRun, type StoredRun } from './stored-run.ts'
import { showWhile, waitUntilStored } from './watch-run.ts'

export interface MainJob {
  readonly job: Job
  readonly deployment: Deployment
  readonly consumer: ConsumerProcess
  readonly progress: Progress
  /** Aborted: recording stops, the producer is closed, and the wait for the consumer is cut short. */
  readonly stop: AbortSignal
}

export interface Outcome {
  readonly trail: CountedTrail
  readonly stored: StoredRun
  readonly seconds: number
  /** Why the input was not recorded to its end: `FILE line K: …`. */
  readonly incomplete: string | undefined
}

/** Longest wait for the log to acknowledge all events. Events left then stay in the spool, and the next run sends them. */
const FLUSH_TIMEOUT_MS = 120_000
const HURRIED_FLUSH_TIMEOUT_MS = 10_000
/** Longest time without a new row, seconds: above the wait of a consumer for the lease of a killed one. */
const STALL_S = 60
/** The same after an interruption: a person waits for the end. */
const HURRIED_STALL_S = 10

/** Records the job through a new producer, and waits until the consumer has stored its events. */
export async function recordAndStore({ job, deployment, consumer, progress, stop }: MainJob): Promise<Outcome> {
  const trail = startCountedTrail({
    ...job.producer,
    ...deployment.log.producer,
    // interruption.ts handles the signals: the trail is closed in order.
    handleExit: false,
    onProblem: (problem) => progress.say(`producer: ${problem.message}`),
  })
  const watch = { deployment, consumer, trail, progress }
  const began = performance.now()
  const what = (): string => `${figure(trail.sessions)} sessions`
  const incomplete = await showWhile(watch, (until) => record(job, trail, until), { what, stop })
  if (!stop.aborted) await waitUntilStored(watch, { stallS: STALL_S, stop })
  if (stop.aborted) {
    // A draining consumer writes the events it has read and reads no more: so first give it time to read all.
    await waitUntilStored(watch, { stallS: HURRIED_STALL_S })
    await consumer.stop()
  }
  const seconds = (performance.now() - began) / 1000
  progress.end()
  const query = { runId: trail.runId, logId: deployment.log.logId, since: trail.startedAt }
  const stored = await readStoredRun(deployment.reader, query)
  if (stop.aborted) {
    const left = trail.accepted - stored.events
    const rest = left === 0 ? '' : `; the other ${figure(left)} are safe: the next start on this directory stores them`
    progress.say(`stopped: ${figure(trail.accepted)} events accepted, ${figure(stored.events)} stored${rest}`)
  }
  return { trail, stored, seconds, incomplete }
}

/** @returns Why the input was not recorded to its end, if so: the sessions before are closed and stored like any other. */
async function record(job: Job, trail: CountedTrail, stop: AbortSignal): Promise<string | undefined> {
  try {
    await job.run(trail, stop)
    return undefined
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error
    return error.message
  } finally {
    // Also after an error: the accepted events are sent.
    await trail.close(stop.aborted ? HURRIED_FLUSH_TIMEOUT_MS : FLUSH_TIMEOUT_MS)
  }
}
