/** A program in its own process that says on stderr what it does. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { onTestFinished } from 'vitest'
import { until } from '../support/wait.ts'

export interface SayingChild {
  /** All that it said so far. */
  text(): string
  /** Waits until it has said this. */
  said(part: string): Promise<void>
  exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  /** Sends a signal; after SIGKILL also waits until the process has exited. */
  kill(signal: NodeJS.Signals): Promise<void>
}

/** Starts the program. The test's end kills it if it still runs. */
export function startSaying(file: string, args: readonly string[]): SayingChild {
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const closed = once(child, 'close')
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (part: string) => (text += part))
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    if (signal === 'SIGKILL') await closed
  }
  onTestFinished(() => kill('SIGKILL'))
  return {
    text: () => text,
    said: async (part) => {
      await until(part, () => {
        if (text.includes(part)) return true
        if (child.exitCode !== null) throw new Error(`it has exited with ${child.exitCode}: ${text}`)
        return undefined
      })
    },
    exited: async () => {
      await closed
      return { code: child.exitCode, signal: child.signalCode }
    },
    kill,
  }
}
