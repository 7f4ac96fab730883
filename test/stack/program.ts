/** Programs that start servers and are killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

export interface Program {
  readonly pid: number
  /** What the program reported about the server it started. */
  readonly part: { readonly pids: readonly number[]; readonly directory: string; readonly address: string }
}

/** Starts `test/stack/child.ts` and waits until its part runs. It is killed when the test has finished. */
export async function startProgram(part: 'clickhouse' | 'kafka', directory = ''): Promise<Program> {
  const { child, said } = spawnProgram(part, directory)
  return { pid: child.pid ?? 0, part: JSON.parse(await said) as Program['part'] }
}

/** Starts it; `said` is its first line. */
export function spawnProgram(part: string, directory: string): { child: ChildProcess; said: Promise<string> } {
  const script = fileURLToPath(new URL('child.ts', import.meta.url))
  const args = ['--conditions=agent-audit-source', script, part, directory]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  return { child, said: once(createInterface(child.stdout), 'line').then(([line]) => String(line)) }
}
