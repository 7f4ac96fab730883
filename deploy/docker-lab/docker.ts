/** The Docker engine, as the parts of the lab use it. */
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url))
const POLL_MS = 250

/** Runs `docker`, and rejects where it fails. @returns its output; of `logs` also what the container wrote to standard error. */
export async function docker(...args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)('docker', args, { cwd: ROOT, maxBuffer: 2 ** 26 })
  return args[0] === 'logs' ? stdout + stderr : stdout.trim()
}

/** Asks until the answer is neither false nor undefined; an error is asked again. */
export async function until<T>(what: string, ask: () => Promise<T | false | undefined>, seconds = 300): Promise<T> {
  const deadline = performance.now() + seconds * 1000
  for (;;) {
    let cause: unknown
    const found = await ask().catch((error: unknown) => {
      cause = error
      return undefined
    })
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error(`${what}: not within ${seconds} s`, { cause })
    await sleep(POLL_MS)
  }
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** A line of name, tab, value: docker-lab.sh makes a table of them. */
export function figure(name: string, value: string): void {
  say(`${name}\t${value}`)
}
