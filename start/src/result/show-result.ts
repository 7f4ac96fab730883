/** Shows what a run has come to: figures, the trail of one session, the agents, and how to look further. */
import { commandLine, runCommand } from '../agent-audit-command.ts'
import type { Job } from '../jobs.ts'
import type { Place } from '../run/deployment.ts'
import { eventTable, isComplete, messageTable, type Outcome, summary } from './report.ts'

export interface ResultOptions {
  readonly job: Job
  readonly place: Place
  readonly json: boolean
}

/** @returns Whether all that was accepted is stored, each once, and could be read again. */
export async function showResult(outcome: Outcome, { job, place, json }: ResultOptions): Promise<boolean> {
  const { recording, incomplete } = outcome
  print(`${eventTable(outcome)}\n`)
  if (job.account !== undefined && job.account.size > 0) print(`${messageTable(job.account)}\n`)
  let readable = true
  const show = async (args: readonly string[]): Promise<void> => {
    print(`$ ${commandLine(args)}\n`)
    const { exitCode } = await runCommand(args)
    if (exitCode !== 0) readable = false
    print('\n')
  }
  const look = place.lookArguments
  const trail = recording.example === undefined ? undefined : ['trail', recording.example, ...look]
  if (trail !== undefined) await show(trail)
  await show(['agents', '--since', recording.startedAt.toISOString(), ...look])
  print(`To look further:\n${furtherCommands(trail, look)}`)
  if (incomplete !== undefined) {
    process.stderr.write(`\nnpm start: ${incomplete}\n`)
    print(`\nINCOMPLETE: the file was recorded up to there (${recording.sessions} sessions) and no further\n`)
  }
  if (json) print(`${summary(outcome)}\n`)
  return readable && isComplete(outcome)
}

function print(text: string): void {
  process.stdout.write(text)
}

function furtherCommands(trail: readonly string[] | undefined, look: readonly string[]): string {
  const commands = [
    ...(trail === undefined ? [] : [[...trail, '--full']]),
    ['sessions', ...look],
    ['verify', '--completeness', ...look],
  ]
  return commands.map((args) => `  ${commandLine(args)}\n`).join('')
}
