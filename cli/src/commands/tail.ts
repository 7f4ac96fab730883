/** `agent-audit tail`. */
import {
  type Analytics,
  type Cursor,
  parsePosition,
  type Tail,
  type TailItem,
  type TailOptions,
  tailTrail,
  type TrailEvent,
} from '@agent-audit/analytics'
import { InvalidArgumentError, type Command } from 'commander'
import { collect, parseTime } from '../arguments.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { eventLine } from '../render/event-line.ts'
import { asJson, counted, type Paint, painter, printable } from '../render/text.ts'
import type { Terminal } from '../terminal.ts'

interface Options extends ConnectionOptions {
  readonly agent?: string[]
  readonly type?: string[]
  readonly session?: string[]
  readonly since?: Date
  readonly after?: Cursor
  readonly json?: boolean
}

const AFTER_HELP = `
LAG is the time from the log's append of an event to its line. Ctrl-C ends with 0 and says the cursor; --after goes on there, and
repeats and misses nothing. While ClickHouse is away, tail waits, and goes on where it was.`

export function addTail(program: Command, terminal: Terminal): void {
  const command = program
    .command('tail')
    .description('follow the events as they are stored')
    .option('--agent <id>', 'only events of this agent (repeatable)', collect)
    .option('--type <event_type>', 'only events of this type (repeatable)', collect)
    .option('--session <id>', 'only events of this session (repeatable)', collect)
    .option('--since <time>', 'begin with what the log appended since: 10m, 24h, or 2026-11-24T10:00:00Z', parseTime)
    .option('--after <cursor>', 'go on after this cursor, as tail has printed it (not with --since)', parseCursor)
    .option('--json', 'one JSON object a line: the event, the cursor behind it, and the lag')
    .addHelpText('after', AFTER_HELP)
  connectable(command).action(async (options: Options) => {
    if (options.since !== undefined && options.after !== undefined)
      command.error('error: --since and --after exclude each other')
    await withTrail(options, terminal, (analytics) => follow(analytics, terminal, options))
  })
}

async function follow(analytics: Analytics, terminal: Terminal, options: Options): Promise<void> {
  const { after, since } = options
  const filters: TailOptions = { agents: options.agent, types: options.type, sessions: options.session }
  const tail = tailTrail(analytics, { after, since, ...filters, signal: terminal.interrupted?.() })
  const view = new View(tail, terminal, options.json === true)
  for await (const item of tail) {
    view.show(item)
    await terminal.drained?.()
  }
  const cursor = cursorText(tail.cursor)
  terminal.err(`agent-audit: stopped${cursor === '' ? '' : `; go on with --after ${cursor}`}\n`)
}

/** Events go to the output, all else to the errors: a program reads events alone. */
class View {
  readonly #tail: Tail
  readonly #terminal: Terminal
  readonly #json: boolean
  readonly #paint: Paint
  #held = ''

  constructor(tail: Tail, terminal: Terminal, json: boolean) {
    this.#tail = tail
    this.#terminal = terminal
    this.#json = json
    this.#paint = painter(terminal.colors)
  }

  show(item: TailItem): void {
    const { err } = this.#terminal
    if (item.kind === 'event') this.#showEvent(item.event)
    else if (item.kind === 'lost') err(`agent-audit: ClickHouse is away, waiting: ${printable(item.error.message)}\n`)
    else if (item.kind === 'back') err('agent-audit: ClickHouse is back\n')
    else this.#showHeld()
  }

  #showEvent(event: TrailEvent): void {
    const lagMs = Math.max(0, Date.now() - Date.parse(event.log_time))
    const { behind, cursor } = this.#tail
    const lag = { since_append_ms: lagMs, behind }
    const line = this.#json
      ? asJson({ event, cursor: cursorText(cursor), lag })
      : eventLine(event, { lagMs, behind, paint: this.#paint })
    this.#terminal.out(`${line}\n`)
  }

  /** A gap is said once. Most fill within a second: the next look then has the events, and says so by showing them. */
  #showHeld(): void {
    const held = cursorText(this.#tail.held)
    if (held !== '' && held !== this.#held) {
      const gaps = counted(this.#tail.held.length, 'partition')
      const message = `${gaps} waits at a gap (${held}): ${counted(this.#tail.behind, 'offset')} behind; \`agent-audit verify --completeness\` says whether it is a loss`
      this.#terminal.err(`agent-audit: ${message}\n`)
    }
    this.#held = held
  }
}

function cursorText(cursor: Cursor): string {
  return cursor.map(({ log_id, partition, offset }) => `${log_id}/${partition}/${offset}`).join(',')
}

function parseCursor(text: string): Cursor {
  const positions = text.split(',').map(parsePosition)
  const known = positions.filter((position) => position !== undefined)
  if (known.length === positions.length) return known
  throw new InvalidArgumentError(
    'expected the cursor that tail has printed: log_id/partition/offset, separated by commas',
  )
}
