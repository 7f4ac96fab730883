/**
 * `npm start`, the main job from end to end: open the parts, start the consumer, record, wait until all is stored, tell
 * what became of it, stop. Each step is a file in start/.
 */
import { InvalidInputError, TrailError } from '@agent-audit/schemas'
import { stopAll } from '@agent-audit/stack'
import { readArguments, type StartOptions, USAGE } from './arguments.ts'
import { type ConsumerProcess, startConsumer } from './run/consumer-process.ts'
import { type Interruption, watchSignals } from './interruption.ts'
import { chooseJob } from './jobs.ts'
import { openPlace } from './run/deployment.ts'
import { createProgress } from './progress.ts'
import { recordAndStore } from './run/main-job.ts'
import { showResult } from './result/show-result.ts'

const EXIT = { complete: 0, incomplete: 1, wrongInput: 2 } as const

for (const stream of [process.stdout, process.stderr]) {
  // A reader that has seen enough (`npm start | head`) closes the pipe; the events still have to get where they belong.
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
    if (!(error instanceof TrailError || isOfTheSystem(error))) throw error
    process.stderr.write(`npm start: ${error.message}\n`)
    return interruption.exitCode ?? (error instanceof InvalidInputError ? EXIT.wrongInput : EXIT.incomplete)
  } finally {
    await stopAll()
  }
}

/** A directory that cannot be made or written, and the like: its message says all there is to say. */
function isOfTheSystem(error: unknown): error is Error {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string'
}

async function runMainJob(options: StartOptions, interruption: Interruption): Promise<number> {
  await using job = await chooseJob(options)
  const progress = createProgress(process.stderr)
  progress.update(`starting ${options.kafka ? 'Kafka and ' : ''}ClickHouse on ${options.dataDir}`)
  await using place = await openPlace(options)
  if (interruption.exitCode !== undefined) return interruption.exitCode
  progress.end()
  progress.say(`${job.title}\n${place.log.name} -> consumer -> ${place.store}, data in ${options.dataDir}\n`)
  let consumer: ConsumerProcess | undefined
  try {
    consumer = startConsumer({
      settings: place.consumerSettings,
      onWarning: (message) => progress.say(`consumer: ${message}`),
    })
    const outcome = await recordAndStore({ job, place, consumer, progress, stop: interruption.signal })
    if (interruption.exitCode !== undefined) return interruption.exitCode
    const shown = await showResult(outcome, { job, place, json: options.json })
    if (!shown) return EXIT.incomplete
    return outcome.incomplete === undefined ? EXIT.complete : EXIT.wrongInput
  } finally {
    await consumer?.stop()
  }
}
