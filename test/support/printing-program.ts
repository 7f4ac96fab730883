/** A program in its own process that prints one line for each step. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { onTestFinished, vi } from 'vitest'

export interface Child {
  readonly pid: number | undefined
  /** Whole lines printed so far. */
  readonly lines: string[]
  /** Waits until the program has printed at least `count` lines. */
  printed(count: number): Promise<void>
  /** Waits until the process has exited; all lines that it wrote have arrived then. */
  exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null; stderr: string }>
  /** Sends a signal; after SIGKILL also waits until the process has exited. */
  kill(signal: NodeJS.Signals): Promise<void>
}

/** Starts the program. The test's end kills it if it still runs. */
export function startPrinting(file: string, args: readonly string[]): Child {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  const lines: string[] = []
  let rest = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    if (signal === 'SIGKILL') await closed
  }
  onTestFinished(() => kill('SIGKILL'))
  return {
    pid: child.pid,
    lines,
    kill,
    exited: async () => {
      await closed
      return { code: child.exitCode, signal: child.signalCode, stderr }
    },
    printed: (count) =>
      vi.waitFor(
        () => {
          if (lines.length < count) throw new Error(`child printed ${lines.length} lines, not ${count}: ${stderr}`)
        },
        { timeout: 30_000, interval: 5 },
      ),
  }
}
