/** `agent-audit why EVENT`. */
import { why } from '@agent-audit/analytics'
import type { Command } from 'commander'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { withKeys } from '../key-store.ts'
import { asJson, painter, shortId } from '../render/text.ts'
import { renderWhy } from '../render/why.ts'
import { EXIT, type Terminal } from '../terminal.ts'

interface Options extends ConnectionOptions {
  readonly json?: boolean
}

export function addWhy(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('why')
    .description('explain one action: reasoning, call, prompt and policy, data read before, approval, what followed')
    .argument('<event>', 'event_id of an action, or of its approval, result or error')
    .option('--json', 'one JSON object with the whole answer')
  withKeys(connectable(command)).action(async (event: string, options: Options) => {
    const answer = await withTrail(options, terminal, (analytics) => why(analytics, event))
    if (answer === undefined) {
      terminal.err(
        `agent-audit: no event "${shortId(event)}" in the trail; \`agent-audit trail SESSION --json\` has their ids\n`,
      )
      return exit(EXIT.finding)
    }
    terminal.out(options.json === true ? `${asJson(answer)}\n` : renderWhy(answer, painter(terminal.colors)))
  })
}
