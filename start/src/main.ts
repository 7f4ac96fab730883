/**
 * `npm start`, the main job from end to end: open the deployment, start the consumer, record, wait until every event is
 * stored, show the result, stop. Each step is a file beside this one.
 */
import { resolve } from 'node:path'
import { inspect } from 'node:util'
import { InvalidInputError, TrailError } from '@agent-audit/schemas'
import { stopAll } from '@agent-audit/stack'
import { readArguments, type StartOptions, USAGE } from './arguments.ts'
import { type ConsumerProcess, startConsumer } from './run/consumer-process.ts'
import { type Interruption, watchSignals } from './interruption.ts'
import { chooseJob } from './jobs.ts'
import { openDeployment } from './run/deployment.ts'
import { createProgress } from './progress.ts'
import { recordAndStore } from './run/main-job.ts'
import { showResult } from './result/show-result.ts'

const EXIT = { complete: 0, incomplete: 1, crashed: 3, wrongInput: 64 } as const

process.on('uncaughtException', (error) => {
  // Node.js would end with 1, which says that events are not stored.
  process.stderr.write(`${inspect(error)}\n`)
  process.exit(EXIT.crashed)
})

for (const stream of [process.stdout, process.stderr]) {
  // A reader such as `npm start | head` closes the pipe early; the events still have to be stored.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}

process.exitCode = await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<number> {
  using interruption = watchSignals()
  try {
    const options = readArguments(args)
    if (options.help) {
      process.stdout.write(USAGE)
      return EXIT.complete
    }
    return await runMainJob(options, interruption)
  } catch (error) {
    if (!(error instanceof TrailError || isSystemError(error))) throw error
    process.stderr.write(`npm start: ${error.message}\n`)
    return interruption.exitCode ?? (error instanceof InvalidInputError ? EXIT.wrongInput : EXIT.incomplete)
  } finally {
    await stopAll()
  }
}

/** Such as a directory that cannot be created or written: the message alone explains it. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string'
}

async function runMainJob(options: StartOptions, interruption: Interruption): Promise<number> {
  await using job = await chooseJob(options)
  const progress = createProgress(process.stderr)
  progress.update(`starting ${options.kafka ? 'Kafka and ' : ''}ClickHouse on ${options.dataDir}`)
  await using deployment = await openDeployment(options)
  if (interruption.exitCode !== undefined) return interruption.exitCode
  progress.end()
  progress.say(
    `${job.title}\n${deployment.log.name} -> consumer -> ${deployment.store}, data in ${resolve(options.dataDir)}\n`,
  )
  let consumer: ConsumerProcess | undefined
  try {
    consumer = startConsumer({
      settings: deployment.consumerSettings,
      onWarning: (message) => progress.say(`consumer: ${message}`),
    })
    const outcome = await recordAndStore({ job, deployment, consumer, progress, stop: interruption.signal })
    if (interruption.exitCode !== undefined) return interruption.exitCode
    const shown = await showResult(outcome, { job, deployment, json: options.json })
    if (!shown) return EXIT.incomplete
    return outcome.incomplete === undefined ? EXIT.complete : EXIT.wrongInput
  } finally {
    await consumer?.stop()
  }
}
