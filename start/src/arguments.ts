/** The arguments of `npm start`. */
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'
import { InvalidInputError } from '@agent-audit/schemas'

export interface StartOptions {
  readonly help: boolean
  /** File of recorded sessions; undefined: the simulated fleet. */
  readonly replay: string | undefined
  readonly kafka: boolean
  readonly dataDir: string
  /** Sessions of the simulated fleet. */
  readonly sessions: number
  /** Seed of the simulated fleet's choices. */
  readonly seed: number
  readonly json: boolean
}

export const USAGE = `npm start -- [options]

Records agents' sessions through the producer, runs the consumer that writes them into ClickHouse, and shows the stored events.

  --replay FILE   recorded sessions in the OpenAI chat format, one JSON object a line, plain or gzip (else: a simulated fleet)
  --kafka         through a Kafka: a container, or Java and Maven; implied where KAFKA_BROKERS names one (else: the embedded log)
  --data-dir DIR  directory of the data; a second run adds to it (default: .audit-data)
  --sessions N    sessions of the simulated fleet, 1 to 100000 (default: 200)
  --seed N        seed of the simulated fleet's choices, 0 to 4294967295 (default: another one each time)
  --json          the last line of the output is one JSON object
  --help          show this

Exit codes: 0 every accepted event is stored once; 1 some are not; 3 npm start crashed; 64 wrong use, or a file that cannot
be read to its end
`

const OPTIONS = {
  replay: { type: 'string' },
  kafka: { type: 'boolean' },
  'data-dir': { type: 'string' },
  sessions: { type: 'string' },
  seed: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsOptionsConfig

const MAX_SESSIONS = 100_000
const MAX_SEED = 2 ** 32 - 1

/**
 * Reads the arguments.
 * @param args - Without `node` and the script.
 * @throws InvalidInputError `OPTIONS_INVALID`, in one line.
 */
export function readArguments(args: readonly string[]): StartOptions {
  const values = parse(args)
  if (values.replay !== undefined && (values.sessions ?? values.seed) !== undefined) {
    throw wrong('--sessions and --seed configure the simulated fleet: they cannot be combined with --replay')
  }
  for (const name of ['replay', 'data-dir'] as const) {
    if (values[name] === '') throw wrong(`--${name}: expected a path`)
  }
  return {
    help: values.help ?? false,
    replay: values.replay,
    kafka: values.kafka ?? Boolean(process.env['KAFKA_BROKERS']),
    dataDir: values['data-dir'] ?? '.audit-data',
    sessions: wholeNumber('sessions', values.sessions, { min: 1, max: MAX_SESSIONS }) ?? 200,
    seed: wholeNumber('seed', values.seed, { min: 0, max: MAX_SEED }) ?? Math.floor(Math.random() * MAX_SEED),
    json: values.json ?? false,
  }
}

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values']

function parse(args: readonly string[]): Values {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, strict: true, allowPositionals: false }).values
  } catch (error) {
    const { message, code } = error as Error & { code?: string }
    if (code?.startsWith('ERR_PARSE_ARGS') !== true) throw error
    // Node adds advice on `--` that does not apply here.
    const said = (message.split(/\. |\n/)[0] ?? message).replace(/\.$/, '')
    throw wrong(said.replace(/argument is ambiguous$/, 'needs a value'))
  }
}

function wholeNumber(
  name: string,
  text: string | undefined,
  { min, max }: { min: number; max: number },
): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= min && value <= max) return value
  throw wrong(`--${name}: expected a whole number from ${min} to ${max}, got "${text}"`)
}

function wrong(message: string): InvalidInputError {
  return new InvalidInputError('OPTIONS_INVALID', `${message} (npm start -- --help lists the options)`)
}
