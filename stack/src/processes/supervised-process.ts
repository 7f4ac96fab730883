/** A program that ends when this process ends, however it ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'

const LAST_LINES = 15

/** What parent-watch.ts runs. */
export interface ProgramOrder {
  readonly command: string
  readonly args: readonly string[]
  /** The program's standard output and error; written anew at each start. */
  readonly outputFile: string
  /** How long the program may take for an orderly end after SIGTERM, milliseconds. */
  readonly graceMs: number
  /** The program's directory. The watch removes it after an orderly end, also when this process is dead. */
  readonly temporaryDir?: string | undefined
}

export class SupervisedProcess {
  readonly pid: number
  readonly #watch: ChildProcess
  readonly #outputFile: string

  private constructor(watch: ChildProcess, pid: number, outputFile: string) {
    this.#watch = watch
    this.pid = pid
    this.#outputFile = outputFile
  }

  /** Starts the program. A program that cannot start is not alive; {@link lastLines} says why. */
  static async start(order: ProgramOrder): Promise<SupervisedProcess> {
    const script = fileURLToPath(new URL(`parent-watch${extname(import.meta.url)}`, import.meta.url))
    const watch = spawn(process.execPath, [script, JSON.stringify(order)], {
      // A process group of watch and program: Ctrl-C in the terminal reaches the parent only.
      detached: true,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    const exited = once(watch, 'exit')
    const [chunk] = (await Promise.race([once(watch.stdout, 'data'), exited.then(() => ['0'])])) as [Buffer | string]
    return new SupervisedProcess(watch, Number(String(chunk).trim()), order.outputFile)
  }

  get isAlive(): boolean {
    return this.#watch.exitCode === null && this.#watch.signalCode === null
  }

  /** Sends a signal to the program itself, if it still lives. */
  signal(name: NodeJS.Signals): void {
    // The watch reaps the program, so while the watch lives no other process can have this id.
    if (this.isAlive && this.pid > 0) process.kill(this.pid, name)
  }

  /** A crash: SIGKILL, and waits until the program has ended. */
  async kill(): Promise<void> {
    if (!this.isAlive) return
    const exited = once(this.#watch, 'exit')
    this.signal('SIGKILL')
    await exited
  }

  /** Ends the program in order, or by SIGKILL after the order's grace. */
  async stop(): Promise<void> {
    if (!this.isAlive) return
    const exited = once(this.#watch, 'exit')
    this.#watch.stdin?.end()
    await exited
  }

  /** The program's last lines of output, for the message about its failure. */
  lastLines(): string {
    const lines = readFileSync(this.#outputFile, 'utf8').trim().split('\n')
    return lines.slice(-LAST_LINES).join('\n')
  }
}
