/** The two jobs: record the simulated fleet, or a file of recorded sessions. */
import type { AuditTrailOptions } from '@agent-audit/producer'
import type { StartOptions } from './arguments.ts'
import { FLEET_AGENTS, runFleet } from './fleet/fleet.ts'
import type { CountedTrail } from './run/counted-trail.ts'
import { openRecordings } from './recordings/recordings-file.ts'
import { createPlayer, type MessageAccount } from './recordings/play-recordings.ts'

export interface Job extends AsyncDisposable {
  /** One line for people. */
  readonly title: string
  readonly producer: Pick<AuditTrailOptions, 'agentId' | 'producerId' | 'environment' | 'syntheticTimestamps'>
  /** Of recorded sessions: the events that the messages became. Of the fleet: undefined. */
  readonly account: MessageAccount | undefined
  /** Records everything, until `stop` is aborted. @throws InvalidInputError `INPUT_UNREADABLE` where the file becomes unreadable. */
  run(trail: CountedTrail, stop: AbortSignal): Promise<void>
}

/** @throws InvalidInputError `INPUT_UNREADABLE` if the file does not exist. */
export async function chooseJob(options: StartOptions): Promise<Job> {
  if (options.replay === undefined) return fleetJob(options)
  const file = await openRecordings(options.replay)
  const player = createPlayer(file)
  return {
    title: `Replaying ${options.replay}`,
    producer: { agentId: 'replay', syntheticTimestamps: true },
    account: player.account,
    run: (trail, stop) => player.run(trail, stop),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  }
}

function fleetJob({ sessions, seed }: StartOptions): Job {
  return {
    title: `A simulated fleet of ${FLEET_AGENTS} agents records ${sessions.toLocaleString('en-US')} sessions (--seed ${seed})`,
    producer: { agentId: 'fleet', environment: 'simulation' },
    account: undefined,
    run: (trail, stop) => runFleet(trail, { sessions, seed }, stop),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
