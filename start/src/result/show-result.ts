/** Shows the result of a run: figures, the trail of one session, the agents, and commands to look further. */
import { commandLine, runCommand } from '../agent-audit-command.ts'
import type { Job } from '../jobs.ts'
import type { Deployment } from '../run/deployment.ts'
import type { Outcome } from '../run/main-job.ts'
import { eventTable, isComplete, messageTable, summary } from './report.ts'

export interface ResultOptions {
  readonly job: Job
  readonly deployment: Deployment
  readonly json: boolean
}

/** @returns Whether every accepted event is stored once, and the commands could read them. */
export async function showResult(outcome: Outcome, { job, deployment, json }: ResultOptions): Promise<boolean> {
  const { trail, incomplete } = outcome
  print(`${eventTable(outcome)}\n`)
  if (job.account !== undefined && job.account.size > 0) print(`${messageTable(job.account)}\n`)
  let readable = true
  const show = async (args: readonly string[]): Promise<void> => {
    print(`$ ${commandLine(args)}\n`)
    const { exitCode } = await runCommand(args, { env: deployment.trailEnvironment })
    if (exitCode !== 0) readable = false
    print('\n')
  }
  const where = deployment.trailArguments
  const trailArgs = trail.example === undefined ? undefined : ['trail', trail.example, ...where]
  if (trailArgs !== undefined) await show(trailArgs)
  await show(['agents', '--since', trail.startedAt.toISOString(), ...where])
  const isGone = Object.keys(deployment.trailEnvironment).length > 0
  print(isGone ? GONE : `To look further:\n${furtherCommands(trailArgs, where)}`)
  if (incomplete !== undefined) {
    process.stderr.write(`\nnpm start: ${incomplete}\n`)
    print(`\nINCOMPLETE: the sessions before that line were recorded (${trail.sessions}), the rest was not\n`)
  }
  if (json) print(`${summary(outcome)}\n`)
  return readable && isComplete(outcome)
}

const GONE =
  'ClickHouse ran in a container, which ends now; the next npm start on this directory goes on with its data. For servers ' +
  'that stay: docs/deploy.md.\n'

function print(text: string): void {
  process.stdout.write(text)
}

function furtherCommands(trailArgs: readonly string[] | undefined, where: readonly string[]): string {
  const commands = [
    ...(trailArgs === undefined ? [] : [[...trailArgs, '--full']]),
    ['sessions', ...where],
    ['verify', '--completeness', ...where],
  ]
  return commands.map((args) => `  ${commandLine(args)}\n`).join('')
}
