/** `agent-audit why EVENT`. */
import { readFileSync } from 'node:fs'
import { why } from '@agent-audit/analytics'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Trust } from '@agent-audit/seals'
import type { Command } from 'commander'
import { connectable, type ConnectionOptions, withTrail } from '../connect.ts'
import { withKeys } from '../key-store.ts'
import { signatureTexts } from '../render/signature.ts'
import { asJson, painter, shortId } from '../render/text.ts'
import { renderWhy } from '../render/why.ts'
import { EXIT, type Terminal } from '../terminal.ts'

interface Options extends ConnectionOptions {
  readonly json?: boolean
  readonly trust?: string
  readonly root?: string
}

export function addWhy(program: Command, terminal: Terminal, exit: (code: number) => void): void {
  const command = program
    .command('why')
    .description('explain one action: reasoning, call, prompt and policy, data read before, approval, what followed')
    .argument('<event>', 'event_id of an action, or of its approval, result or error')
    .option('--trust <file>', 'the trust file: verify the signatures of decisions by it')
    .option('--root <vkey>', 'the root key that must have signed the trust file')
    .option('--json', 'one JSON object with the whole answer; signatures are not verified')
  withKeys(connectable(command)).action(async (event: string, options: Options) => {
    const trust = await readTrust(options)
    const answer = await withTrail(options, terminal, (analytics) => why(analytics, event))
    if (answer === undefined) {
      terminal.err(
        `agent-audit: no event "${shortId(event)}" in the trail; \`agent-audit trail SESSION --json\` has their ids\n`,
      )
      return exit(EXIT.finding)
    }
    if (options.json === true) return terminal.out(`${asJson(answer)}\n`)
    const texts = signatureTexts(answer.session.session_id, trust)
    terminal.out(renderWhy(answer, painter(terminal.colors), texts))
  })
}

/** The trust file of --trust, if it is given. */
export async function readTrust({ trust, root }: Pick<Options, 'trust' | 'root'>): Promise<Trust | undefined> {
  if (trust === undefined) {
    if (root === undefined) return undefined
    throw new InvalidInputError('OPTIONS_INVALID', '--root: expected --trust FILE beside it')
  }
  const { openTrust, VerifierKey } = await import('@agent-audit/seals')
  return openTrust(readFileSync(trust, 'utf8'), root === undefined ? undefined : VerifierKey.parse(root))
}
