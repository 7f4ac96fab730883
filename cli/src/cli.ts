/** The `agent-audit` command: its commands and exit codes. */
import { readFileSync } from 'node:fs'
import { TrailError } from '@agent-audit/schemas'
import { Command, CommanderError } from 'commander'
import { addAgents } from './commands/agents.ts'
import { addDataKeys } from './commands/data-keys.ts'
import { addDeadLetters } from './commands/dead-letters.ts'
import { addDetect } from './commands/detect.ts'
import { addEvidence } from './commands/evidence.ts'
import { addErase } from './commands/erase.ts'
import { addExport } from './commands/export.ts'
import { addKeys } from './commands/keys.ts'
import { addNotary } from './commands/notary.ts'
import { addQuarantine } from './commands/quarantine.ts'
import { addQuery } from './commands/query.ts'
import { addSessions } from './commands/sessions.ts'
import { addSetup } from './commands/setup.ts'
import { addSigner } from './commands/signer.ts'
import { addSpool } from './commands/spool.ts'
import { addTail } from './commands/tail.ts'
import { addTrail } from './commands/trail.ts'
import { addVerify } from './commands/verify.ts'
import { addWhy } from './commands/why.ts'
import { EXIT, type Terminal } from './terminal.ts'

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
  const program = createProgram(terminal, (code) => {
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

function createProgram(terminal: Terminal, exit: (code: number) => void): Command {
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
  for (const add of [
    addTrail,
    addTail,
    addSessions,
    addAgents,
    addVerify,
    addDataKeys,
    addDeadLetters,
    addDetect,
    addEvidence,
    addErase,
    addExport,
    addKeys,
    addNotary,
    addQuarantine,
    addQuery,
    addSetup,
    addSigner,
    addSpool,
    addWhy,
  ])
    add(program, terminal, exit)
  return program
}

function version(): string {
  const file = new URL('../package.json', import.meta.url)
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
