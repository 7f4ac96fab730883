/** Runs the `agent-audit` command as a person would: `npm start` shows what the command prints. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface CommandResult {
  readonly exitCode: number
  /** Its standard output, if captured; else empty. */
  readonly output: string
}

export interface CommandOptions {
  /** Variables added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Whether to return its output instead of showing it. */
  readonly capture?: boolean | undefined
}

/** @param args - Such as `['trail', 'S1', '--data-dir', 'D']`. */
export async function runCommand(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const shim = fileURLToPath(new URL('../bin/agent-audit.js', import.meta.resolve('@agent-audit/cli')))
  const child = spawn(process.execPath, [shim, ...args], {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', options.capture === true ? 'pipe' : 'inherit', 'inherit'],
  })
  let output = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { exitCode: code ?? 1, output }
}

/** The line that a person types in a shell. */
export function commandLine(args: readonly string[]): string {
  return [
    'npx agent-audit',
    ...args.map((arg) => (/^[\w./:@=-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", `'\\''`)}'`)),
  ].join(' ')
}
