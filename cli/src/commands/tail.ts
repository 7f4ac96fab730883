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
import type { Severity } from '@agent-audit/detect'
import { InvalidInputError } from '@agent-audit/schemas'
import { type Command, Option } from 'commander'
import { collect, parseTime } from '../arguments.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { withKeys } from '../key-store.ts'
import { eventLine } from '../render/event-line.ts'
import { asJson, counted, type Paint, painter, printable } from '../render/text.ts'
import type { Terminal } from '../terminal.ts'
import { followFindings } from './tail-findings.ts'

interface Options extends ConnectionOptions {
  readonly agent?: string[]
  readonly type?: string[]
  readonly session?: string[]
  readonly findings?: boolean
  readonly detector?: string[]
  readonly severity?: Severity
  readonly since?: Date
  readonly after?: string
  readonly json?: boolean
}

const AFTER_HELP = `
LAG is the time from the log's append of an event to its line. Ctrl-C ends with 0 and says the cursor; --after goes on there, and
repeats and misses nothing. While ClickHouse is away, tail waits, and goes on where it was.

With --findings each line is a finding of \`detect\`, and LAG is the time since it was found.`

export function addTail(program: Command, terminal: Terminal): void {
  const command = program
    .command('tail')
    .description('follow the events as they are stored, or the findings of detectors')
    .option('--agent <id>', 'only events of this agent (repeatable)', collect)
    .option('--type <event_type>', 'only events of this type (repeatable)', collect)
    .option('--session <id>', 'only events of this session (repeatable)', collect)
    .option('--findings', 'follow the findings of detectors, not the events')
    .option('--detector <name>', 'with --findings: only of this detector (repeatable)', collect)
    .addOption(
      new Option('--severity <level>', 'with --findings: only this grave or graver').choices([
        'info',
        'low',
        'medium',
        'high',
        'critical',
      ]),
    )
    .option('--since <time>', 'begin with what the log appended since: 10m, 24h, or 2026-11-24T10:00:00Z', parseTime)
    .option('--after <cursor>', 'go on after this cursor, as tail has printed it (not with --since)')
    .option('--json', 'one JSON object a line: the event or the finding, the cursor behind it, and the lag')
    .addHelpText('after', AFTER_HELP)
  withKeys(connectable(command)).action(async (options: Options) => {
    const fault = faultOf(options)
    if (fault !== undefined) command.error(`error: ${fault}`)
    if (options.findings === true) await followFindings(options, terminal)
    else await withTrail(options, terminal, (analytics) => follow(analytics, terminal, options))
  })
}

function faultOf({ findings, type, detector, severity, since, after }: Options): string | undefined {
  if (since !== undefined && after !== undefined) return '--since and --after exclude each other'
  if (findings === true) return type === undefined ? undefined : '--type is of events: --findings has --detector'
  if (detector !== undefined) return '--detector needs --findings'
  return severity === undefined ? undefined : '--severity needs --findings'
}

async function follow(analytics: Analytics, terminal: Terminal, options: Options): Promise<void> {
  const { since } = options
  const after = options.after === undefined ? undefined : parseCursor(options.after)
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

/** @throws InvalidInputError `OPTIONS_INVALID` for another form than tail prints. */
function parseCursor(text: string): Cursor {
  const positions = text.split(',').map(parsePosition)
  const known = positions.filter((position) => position !== undefined)
  if (known.length === positions.length) return known
  const expected = 'expected the cursor that tail has printed: log_id/partition/offset, separated by commas'
  throw new InvalidInputError('OPTIONS_INVALID', `--after: ${expected}`)
}
