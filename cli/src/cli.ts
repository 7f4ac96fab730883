/** The `agent-audit` command: its commands and exit codes. */
import { readFileSync } from 'node:fs'
import { TrailError } from '@agent-audit/schemas'
import { Command, CommanderError } from 'commander'
import { EXIT, type Terminal } from './terminal.ts'

type Add = (program: Command, terminal: Terminal, exit: (code: number) => void) => void

/** In the order of the help. A command loads its own part alone: those of all commands take longer than many commands do. */
const COMMANDS: Readonly<Record<string, () => Promise<Add>>> = {
  trail: async () => (await import('./commands/trail.ts')).addTrail,
  tail: async () => (await import('./commands/tail.ts')).addTail,
  sessions: async () => (await import('./commands/sessions.ts')).addSessions,
  agents: async () => (await import('./commands/agents.ts')).addAgents,
  verify: async () => (await import('./commands/verify.ts')).addVerify,
  'data-keys': async () => (await import('./commands/data-keys.ts')).addDataKeys,
  'dead-letters': async () => (await import('./commands/dead-letters.ts')).addDeadLetters,
  detect: async () => (await import('./commands/detect.ts')).addDetect,
  evidence: async () => (await import('./commands/evidence.ts')).addEvidence,
  erase: async () => (await import('./commands/erase.ts')).addErase,
  export: async () => (await import('./commands/export.ts')).addExport,
  keys: async () => (await import('./commands/keys.ts')).addKeys,
  notary: async () => (await import('./commands/notary.ts')).addNotary,
  quarantine: async () => (await import('./commands/quarantine.ts')).addQuarantine,
  query: async () => (await import('./commands/query.ts')).addQuery,
  setup: async () => (await import('./commands/setup.ts')).addSetup,
  signer: async () => (await import('./commands/signer.ts')).addSigner,
  spool: async () => (await import('./commands/spool.ts')).addSpool,
  why: async () => (await import('./commands/why.ts')).addWhy,
}

const WRONG_USE = new Set(['OPTIONS_INVALID', 'INPUT_UNREADABLE', 'KEY_INVALID'])
/** Errors that are findings: an alarm, unlike a server that cannot be reached. */
const FINDINGS = new Set([
  'GRANTS_TOO_WIDE',
  'MIGRATION_CHANGED',
  'CLUSTER_CHANGED',
  'LOG_REPLACED',
  'LOG_TRUNCATED',
  'EXPORT_CHANGED',
  'SEAL_INVALID',
  'SIGNATURE_INVALID',
  'SEAL_LOG_CHANGED',
  'NOTARY_RUNNING',
])

const AFTER_HELP = `
The trail:
  CLICKHOUSE_URL=http://host:8123, with CLICKHOUSE_USER (default), CLICKHOUSE_PASSWORD, CLICKHOUSE_DATABASE (audit);
  for https with own certificates CLICKHOUSE_SSL_CA, CLICKHOUSE_SSL_CERT, CLICKHOUSE_SSL_KEY (PEM), CLICKHOUSE_SSL_KEY_PASSWORD
  or --data-dir DIR, the directory of an embedded trail (npm start), also while other processes use it

Exit codes: 0 done, 1 a finding, 3 the command could not complete, 64 wrong use; verify only: 2 incomplete, 4 gaps that only
another run or a dead letter explains; evidence only: 1 tampered, 2 incomplete, 3 could not check`

/**
 * Runs one command.
 * @param args - Without `node` and the script, such as `['trail', 'S1', '--json']`.
 * @returns The exit code: 0 done, 1 finding, 3 could not complete, 64 wrong use; `verify` adds 2 and 4. Rejects at a crash.
 */
export async function runCli(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.done
  const program = createProgram(await loadCommands(args), terminal, (code) => {
    exitCode = code
    terminal.exitCode?.(code)
  })
  try {
    await program.parseAsync([...args], { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.wrongUse
    if (!(error instanceof TrailError) && !isSystemError(error)) throw error
    terminal.err(`agent-audit: ${error.message.replaceAll(/\s*\n\s*/g, ' ')}\n`)
    if (!(error instanceof TrailError)) return EXIT.notCompleted
    if (WRONG_USE.has(error.code)) return EXIT.wrongUse
    return FINDINGS.has(error.code) ? EXIT.finding : EXIT.notCompleted
  }
}

/** The operating system refused a file or a directory (EACCES, EROFS, …): no mistake of this program. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error
}

/** What commander says, on one line. */
function explain(text: string): string {
  const line = text.replace(/^error: /, 'agent-audit: ').replaceAll(/\n(?=.)/g, ' ')
  if (!line.includes('unknown option')) return line
  return line.replace(/\n?$/, '; an id that begins with - comes last, after --\n')
}

/** The command that the arguments begin with; all of them, where it is not known or help is asked for. */
async function loadCommands([first = '']: readonly string[]): Promise<Add[]> {
  const own = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined
  return Promise.all((own === undefined ? Object.values(COMMANDS) : [own]).map((load) => load()))
}

function createProgram(commands: readonly Add[], terminal: Terminal, exit: (code: number) => void): Command {
  const program = new Command('agent-audit')
    .description('Reads and checks the audit trail of agents.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .addHelpText('after', AFTER_HELP)
    .showSuggestionAfterError(true)
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .configureOutput({
      writeOut: terminal.out,
      writeErr: terminal.err,
      outputError: (text, write) => write(explain(text)),
      getOutHasColors: () => terminal.colors,
      getErrHasColors: () => false,
    })
    .exitOverride()
  for (const add of commands) add(program, terminal, exit)
  return program
}

function version(): string {
  const file = new URL('../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
