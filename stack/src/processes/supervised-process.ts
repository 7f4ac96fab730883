/** A program that lives at most as long as this process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'

const LAST_LINES = 15

/** What the guard is asked to do; see guard.ts. */
export interface GuardOrder {
  readonly command: string
  readonly args: readonly string[]
  /** The program's standard output and error; written anew at each start. */
  readonly outputFile: string
  /** How long the program may take for an orderly end after SIGTERM, milliseconds. */
  readonly graceMs: number
  /** The program's directory, removed after an end in order, also when nobody but the guard is left to do it. */
  readonly temporaryDir?: string | undefined
}

export class GuardedProcess {
  readonly pid: number
  readonly #guard: ChildProcess
  readonly #outputFile: string

  private constructor(guard: ChildProcess, pid: number, outputFile: string) {
    this.#guard = guard
    this.pid = pid
    this.#outputFile = outputFile
  }

  /** Starts the program. Its failure to start shows as an end; see {@link lastLines}. */
  static async start(order: GuardOrder): Promise<GuardedProcess> {
    const script = fileURLToPath(new URL(`guard${extname(import.meta.url)}`, import.meta.url))
    const guard = spawn(process.execPath, [script, JSON.stringify(order)], {
      // Its own process group, the program's too: Ctrl-C in the terminal reaches the parent only.
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    const exited = once(guard, 'exit')
    const [chunk] = (await Promise.race([once(guard.stdout, 'data'), exited.then(() => ['0'])])) as [Buffer | string]
    return new GuardedProcess(guard, Number(String(chunk).trim()), order.outputFile)
  }

  get isAlive(): boolean {
    return this.#guard.exitCode === null && this.#guard.signalCode === null
  }

  /** Sends a signal to the program itself, if it still lives. */
  signal(name: NodeJS.Signals): void {
    // The guard reaps the program, so while the guard lives the id cannot have become a stranger's.
    if (this.isAlive && this.pid > 0) process.kill(this.pid, name)
  }

  /** A crash: SIGKILL, and waits until the program is gone. */
  async kill(): Promise<void> {
    if (!this.isAlive) return
    const exited = once(this.#guard, 'exit')
    this.signal('SIGKILL')
    await exited
  }

  /** Ends the program in order, or by SIGKILL after the order's grace. */
  async stop(): Promise<void> {
    if (!this.isAlive) return
    const exited = once(this.#guard, 'exit')
    this.#guard.stdin?.end()
    await exited
  }

  /** What the program said last, for the message about its failure. */
  lastLines(): string {
    const lines = readFileSync(this.#outputFile, 'utf8').trim().split('\n')
    return lines.slice(-LAST_LINES).join('\n')
  }
}
