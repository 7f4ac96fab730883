/** `agent-audit trail SESSION`. */
import { sessionTrail } from '@agent-audit/analytics'
import type { Command } from 'commander'
import { collect } from '../arguments.ts'
import { EXIT, type Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { painter, printable } from '../render/text.ts'
import { timeline } from '../render/timeline.ts'

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
  connectable(command).action(async (session: string, options: Options) => {
    const events = await withTrail(options, terminal, (analytics) => sessionTrail(analytics, session))
    if (events.length === 0) {
      terminal.err(
        `agent-audit: no session "${printable(session)}" in the trail; \`agent-audit sessions\` lists them\n`,
      )
      return exit(EXIT.finding)
    }
    const shown = events.filter(
      (event) =>
        (options.agent?.includes(event.agent_id) ?? true) && (options.type?.includes(event.event_type) ?? true),
    )
    if (options.json === true) return terminal.out(`${JSON.stringify(shown)}\n`)
    terminal.out(timeline(events, shown, { full: options.full === true, paint: painter(terminal.colors) }))
  })
}
