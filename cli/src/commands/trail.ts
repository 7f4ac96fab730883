/** `agent-audit trail SESSION`. */
import { type Analytics, sessionEvents, type TrailEvent } from '@agent-audit/analytics'
import type { Command } from 'commander'
import { collect } from '../arguments.ts'
import { EXIT, Printer, type Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { withKeys } from '../key-store.ts'
import { asJson, type Paint, painter, shortId } from '../render/text.ts'
import { SUMMED_UP, Timeline, TO_DECRYPT } from '../render/timeline.ts'

interface Options extends ConnectionOptions {
  readonly agent?: string[]
  readonly type?: string[]
  readonly full?: boolean
  readonly json?: boolean
}

export function addTrail(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('trail')
    .description('show a session event by event')
    .argument('<session>', 'session_id')
    .option('--agent <id>', 'only events of this agent (repeatable)', collect)
    .option('--type <event_type>', 'only events of this type (repeatable)', collect)
    .option('--full', 'every recorded field, uncut (default: texts are cut at 200 characters)')
    .option('--json', 'one JSON array of complete events')
  withKeys(connectable(command)).action(async (session: string, options: Options) => {
    const printer = new Printer(terminal)
    const print = options.json === true ? printJson : printTimeline
    const found = await withTrail(options, terminal, (analytics) =>
      print(printer, { analytics, session, options, paint: painter(terminal.colors) }),
    )
    if (found) return printer.flush()
    terminal.err(`agent-audit: no session "${shortId(session)}" in the trail; \`agent-audit sessions\` lists them\n`)
    exit(EXIT.finding)
  })
}

interface Work {
  readonly analytics: Analytics
  readonly session: string
  readonly options: Options
  readonly paint: Paint
}

/** @returns Whether the session has an event, shown or not. Then the array is printed, event by event. */
async function printJson(printer: Printer, { analytics, session, options }: Work): Promise<boolean> {
  let found = false
  let before = '['
  for await (const event of sessionEvents(analytics, session)) {
    found = true
    if (!isShown(event, options)) continue
    await printer.print(`${before}${eventJson(event)}`)
    before = ','
  }
  if (found) await printer.print(`${before === '[' ? '[' : ''}]\n`)
  return found
}

/** Reads the session twice: the heading and the widths of the columns come before the first line. */
async function printTimeline(printer: Printer, { analytics, session, options, paint }: Work): Promise<boolean> {
  const timeline = new Timeline({ full: options.full === true, paint })
  for await (const event of sessionEvents(analytics, session, [...SUMMED_UP, ...TO_DECRYPT]))
    timeline.add(event, isShown(event, options))
  if (timeline.events === 0) return false
  await printer.print(timeline.head())
  for await (const event of sessionEvents(analytics, session)) {
    if (isShown(event, options)) await printer.print(timeline.line(event))
  }
  await printer.print(timeline.foot())
  return true
}

function isShown(event: Pick<TrailEvent, 'agent_id' | 'event_type'>, { agent, type }: Options): boolean {
  return (agent?.includes(event.agent_id) ?? true) && (type?.includes(event.event_type) ?? true)
}

/** The event; of one that cannot be written as JSON, its position and the reason. */
function eventJson(event: TrailEvent): string {
  try {
    return asJson(event)
  } catch (error) {
    const { log_id, log_partition, log_offset } = event
    return asJson({ log_id, log_partition, log_offset, cannot_be_shown: String(error) })
  }
}
