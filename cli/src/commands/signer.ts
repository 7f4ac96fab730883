/** `agent-audit signer`: signs the seals of producers, or of a consumer, in a process of its own. */
import { once } from 'node:events'
import { InvalidInputError } from '@agent-audit/schemas'
import { type Command, Option } from 'commander'
import { printable } from '../render/text.ts'
import type { Terminal } from '../terminal.ts'

interface Options {
  readonly key: string
  readonly socket: string
  readonly state: string
  readonly role: 'producer' | 'consumer'
  readonly group?: boolean
}

const AFTER_HELP = `
The signer signs the next seal of each run of the key's producer, one a second and run, and no other text; for a consumer the next
seal of each partition. Run it as another user than the agents, so that they cannot read its key; --group then lets them connect.
docs/integrity.md says what this protects from.
It runs until it is stopped; refusals, and clocks of producers that differ from its own, are said on stderr.`

export function addSigner(program: Command, terminal: Terminal): void {
  program
    .command('signer')
    .description('sign seals for agents, or a consumer, that have no key of their own, on a Unix socket')
    .requiredOption('--key <file>', 'the private key, as `agent-audit keys generate` makes it')
    .requiredOption('--socket <path>', 'the socket; its folder is made, or must be for the owner alone')
    .requiredOption('--state <file>', 'what was signed of each run, kept between restarts')
    .addOption(
      new Option('--role <role>', 'whose seals it signs').choices(['producer', 'consumer']).default('producer'),
    )
    .option('--group', 'let the members of the group of the folder connect as well')
    .addHelpText('after', AFTER_HELP)
    .action((options: Options) => run(options, terminal))
}

async function run({ key, socket, state, role, group = false }: Options, terminal: Terminal): Promise<void> {
  const { openKeyFile } = await import('@agent-audit/seals')
  const { SignerService } = await import('@agent-audit/seals/signer-service')
  const signer = openKeyFile(key)
  const { interrupted } = terminal
  if (interrupted === undefined) throw new InvalidInputError('OPTIONS_INVALID', 'signer: it needs a process to run in')
  const signal = interrupted()
  const say = (message: string): void => terminal.err(`agent-audit: ${printable(message)}\n`)
  const service = await SignerService.start({
    signer,
    socketPath: socket,
    stateFile: state,
    role,
    group,
    onNotice: say,
  })
  say(`signing as ${signer.vkey} on ${socket}`)
  if (!signal.aborted) await once(signal, 'abort')
  await service.close()
}
