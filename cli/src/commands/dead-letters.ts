/** `agent-audit dead-letters list|show|replay`. */
import {
  type Analytics,
  type DeadLetter,
  deadLetters,
  parsePosition,
  readDeadLetter,
  readSkipped,
} from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Command } from 'commander'
import { parseCount, parseTime } from '../arguments.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { kafkaOf } from '../kafka-connection.ts'
import { deadLetterJson, deadLetterList, deadLetterPage, replayReport } from '../render/dead-letters.ts'
import type { Destination, Replayed } from '../replay-dead-letters.ts'
import { counted, painter, printable } from '../render/text.ts'
import { EXIT, printArray, type Terminal } from '../terminal.ts'

interface Filter extends ConnectionOptions {
  readonly topic?: string
  readonly partition?: number
  readonly reason?: string
  readonly since?: Date
  readonly until?: Date
  readonly limit?: number
  readonly json?: boolean
}

interface ReplayFlags extends Filter {
  readonly all?: boolean
  readonly brokers?: string
  readonly dryRun?: boolean
  readonly force?: boolean
}

/** Most dead letters of one replay: more need another command, and so another decision. */
const MAX_REPLAY = 100_000

const REPLAY_HELP = `
A dead letter is sent to the topic it came from, as the only event of a run that follows from its position: sent twice, it is
stored once. The event's replay_of names the position. A dead letter that cannot be read as an event is refused, and so is one
whose event is stored, unless forced: then it becomes another event. The others are sent.
The log: --brokers or KAFKA_BROKERS (with KAFKA_SSL, KAFKA_SASL_*), else the embedded log in AUDIT_DATA_DIR or of --data-dir.
SCHEMA_REGISTRY_URL: for records in the Confluent wire format.

Exit codes: 0 all replayed, 1 some refused, 3 could not complete, 64 wrong use`

export function addDeadLetters(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const group = program
    .command('dead-letters')
    .description('list, show and replay the records that could not be stored')
  addList(group, terminal)
  addShow(group, terminal, exit)
  addReplay(group, terminal, exit)
}

function addList(group: Command, terminal: Terminal): void {
  const list = group
    .command('list')
    .description('list dead letters, the latest first')
    .option('--limit <n>', 'length of the list', parseCount(1, 100_000), 50)
  filterable(list).action(async (options: Filter & { limit: number }) => {
    const found = await withTrail(options, terminal, (analytics) => deadLetters(analytics, options))
    if (options.json === true) return printArray(terminal, found)
    if (found.length === 0) return terminal.out('no dead letters\n')
    terminal.out(deadLetterList(found, painter(terminal.colors)))
    if (found.length === options.limit) terminal.out(`the latest ${found.length}; --limit shows more\n`)
  })
}

function addShow(group: Command, terminal: Terminal, exit: (code: number) => void): void {
  const show = group
    .command('show')
    .description('show a dead letter, or a duplicate, with its bytes, and its fields as far as they can be read')
    .argument('<position>', 'log_id/partition/offset, as list and verify print it')
    .option('--full', 'nothing cut (else bytes are cut at 1 KiB, texts at 200 characters)')
    .option('--json', 'one JSON object; bytes in hex')
  connectable(show).action(
    async (position: string, options: ConnectionOptions & { full?: boolean; json?: boolean }) => {
      const record = await withTrail(options, terminal, (analytics) => readSkipped(analytics, positionOf(position)))
      if (record === undefined) {
        terminal.err(
          `agent-audit: no dead letter at ${printable(position)}, and no duplicate; \`agent-audit dead-letters list\` lists them\n`,
        )
        return exit(EXIT.finding)
      }
      // Loaded only here: the other commands start faster without the consumer.
      const { createOpener } = await import('../dead-record.ts')
      const opened = await createOpener(terminal.env)(record)
      if (options.json === true) return terminal.out(`${deadLetterJson(record, opened)}\n`)
      const paint = painter(terminal.colors)
      terminal.out(deadLetterPage(record, opened, { full: options.full === true, paint }))
    },
  )
}

function addReplay(group: Command, terminal: Terminal, exit: (code: number) => void): void {
  const replay = group
    .command('replay')
    .description('send dead letters through their topic once more, as events')
    .argument('[position...]', 'log_id/partition/offset; without one, the options choose')
    .option('--all', 'all dead letters, where no other option chooses')
    .option('--limit <n>', 'only the latest n', parseCount(1, MAX_REPLAY))
    .option('--brokers <list>', 'Kafka, host:port separated by commas (default: KAFKA_BROKERS)')
    .option('--dry-run', 'print what a replay would do, and send nothing')
    .option('--force', 'also dead letters whose event is stored: each becomes another event')
    .addHelpText('after', REPLAY_HELP)
  filterable(replay).action(async (positions: string[], options: ReplayFlags) => {
    const results = await withTrail(options, terminal, async (analytics, logDir) =>
      replayChosen(await choose(analytics, positions, options), { analytics, options, terminal, logDir }),
    )
    if (results.some(({ outcome }) => outcome === 'refused')) exit(EXIT.finding)
    if (options.json === true) return printArray(terminal, results)
    terminal.out(results.length === 0 ? 'no dead letters\n' : replayReport(results, painter(terminal.colors)))
  })
}

interface ReplayContext {
  readonly analytics: Analytics
  readonly options: ReplayFlags
  readonly terminal: Terminal
  readonly logDir: string | undefined
}

async function replayChosen(
  letters: readonly DeadLetter[],
  { analytics, options, terminal, logDir }: ReplayContext,
): Promise<Replayed[]> {
  const [{ createOpener }, { replayDeadLetters }] = await Promise.all([
    import('../dead-record.ts'),
    import('../replay-dead-letters.ts'),
  ])
  return replayDeadLetters(analytics, letters, {
    open: createOpener(terminal.env),
    destination: destinationOf(options, terminal, logDir),
    dryRun: options.dryRun === true,
    force: options.force === true,
  })
}

function filterable(command: Command): Command {
  const filtered = command
    .option('--topic <name>', 'only of this topic')
    .option('--partition <n>', 'only of this partition', parseCount(0, 1_000_000))
    .option('--reason <text>', 'only those whose reason contains this text')
    .option('--since <time>', 'from this time on, by the clock of the log: 24h, 7d, or 2026-11-24T10:00:00Z', parseTime)
    .option('--until <time>', 'before this time: as --since', parseTime)
    .option('--json', 'one JSON array')
  return connectable(filtered)
}

function positionOf(text: string): NonNullable<ReturnType<typeof parsePosition>> {
  const position = parsePosition(text)
  if (position !== undefined) return position
  throw new InvalidInputError(
    'OPTIONS_INVALID',
    `"${printable(text)}": expected log_id/partition/offset, as list prints it`,
  )
}

async function choose(analytics: Analytics, positions: readonly string[], options: ReplayFlags): Promise<DeadLetter[]> {
  if (positions.length > 0) {
    const found = await Promise.all(positions.map((position) => readDeadLetter(analytics, positionOf(position))))
    const missing = positions.filter((_, index) => found[index] === undefined)
    if (missing.length > 0) {
      throw new InvalidInputError(
        'OPTIONS_INVALID',
        `no dead letter at ${missing.map((position) => printable(position)).join(', ')}`,
      )
    }
    return found.filter((record) => record !== undefined)
  }
  const { topic, partition, reason, since, until, limit } = options
  if (options.all !== true && [topic, partition, reason, since, until, limit].every((option) => option === undefined)) {
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      'dead-letters replay: say which: give positions, options that choose, or --all',
    )
  }
  const found = await deadLetters(analytics, { ...options, limit: limit ?? MAX_REPLAY + 1 })
  if (found.length <= MAX_REPLAY) return found
  const tooMany = `more than ${counted(MAX_REPLAY, 'dead letter')} at once: choose fewer, by --partition, --since or --limit`
  throw new InvalidInputError('OPTIONS_INVALID', tooMany)
}

function destinationOf(options: ReplayFlags, { env }: Terminal, logDir: string | undefined): Destination {
  const kafka = kafkaOf(options.brokers, env)
  if (kafka !== undefined) return { brokers: kafka.brokers, ssl: kafka.ssl, sasl: kafka.sasl }
  const dataDir = env['AUDIT_DATA_DIR'] ?? logDir
  if (dataDir !== undefined) return { dataDir }
  const where = 'dead-letters replay: where is the log? Set KAFKA_BROKERS, or AUDIT_DATA_DIR for an embedded log'
  throw new InvalidInputError('OPTIONS_INVALID', where)
}
