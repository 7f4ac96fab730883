/** What is recorded: the simulated fleet, or a file of recorded sessions. */
import type { AuditTrailOptions } from '@agent-audit/producer'
import type { StartOptions } from './arguments.ts'
import { FLEET_AGENTS, runFleet } from './fleet/fleet.ts'
import type { Recording } from './run/counted-trail.ts'
import { openRecordings } from './recordings/recordings-file.ts'
import { createReplay, type MessageAccount } from './recordings/play-recordings.ts'

export interface Job extends AsyncDisposable {
  /** One line that says what is done. */
  readonly title: string
  readonly producer: Pick<AuditTrailOptions, 'agentId' | 'producerId' | 'environment' | 'syntheticTimestamps'>
  /** What became of the messages of a replay. */
  readonly account: MessageAccount | undefined
  /** Records everything, until `stop` is aborted. @throws InvalidInputError `INPUT_UNREADABLE` where the file cannot be read on. */
  run(recording: Recording, stop: AbortSignal): Promise<void>
}

/** @throws InvalidInputError `INPUT_UNREADABLE` if there is no such file. */
export async function chooseJob(options: StartOptions): Promise<Job> {
  if (options.replay === undefined) return fleetJob(options)
  const file = await openRecordings(options.replay)
  const replay = createReplay(file)
  return {
    title: `Replaying ${options.replay}`,
    producer: { agentId: 'replay', syntheticTimestamps: true },
    account: replay.account,
    run: (recording, stop) => replay.run(recording, stop),
    [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
  }
}

function fleetJob({ sessions, seed }: StartOptions): Job {
  return {
    title: `A simulated fleet of ${FLEET_AGENTS} agents records ${sessions.toLocaleString('en-US')} sessions (--seed ${seed})`,
    producer: { agentId: 'fleet', environment: 'simulation' },
    account: undefined,
    run: (recording, stop) => runFleet(recording, { sessions, seed }, stop),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
