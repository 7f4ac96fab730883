/** `agent-audit verify --completeness`. */
import { completeness } from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Command } from 'commander'
import type { Terminal } from '../terminal.ts'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { completenessReport } from '../render/completeness.ts'
import { painter } from '../render/text.ts'

interface Options extends ConnectionOptions {
  readonly completeness?: boolean
  readonly json?: boolean
}

const EXIT_CODES = { complete: 0, repeated: 1, gaps: 2 } as const

export function addVerify(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('verify')
    .description('check that no event is missing and none is stored twice')
    .option('--completeness', 'check every offset of every log partition, and every number of every run')
    .option('--json', 'one JSON object')
    .addHelpText('after', '\nExit codes: 0 complete, 1 repeated or altered, 2 gaps, 3 could not check, 64 wrong use')
  connectable(command).action(async (options: Options) => {
    if (options.completeness !== true) {
      throw new InvalidInputError('OPTIONS_INVALID', 'verify: say what to check: --completeness')
    }
    const report = await withTrail(options, terminal, (analytics) => completeness(analytics))
    exit(EXIT_CODES[report.verdict])
    if (options.json === true) terminal.out(`${JSON.stringify(report)}\n`)
    else terminal.out(completenessReport(report, painter(terminal.colors)))
  })
}
