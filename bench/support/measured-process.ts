/** A measured process: its output lines, and its usage at each of them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readUsage, type Usage } from './process-usage.ts'

/** Time of a line, and the usage of the process until then. */
export interface Mark extends Usage {
  /** By performance.now() of this process. */
  readonly at: number
}

export interface ProcessOptions {
  /** Path below the checkout. */
  readonly script: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly nodeOptions?: readonly string[]
  /** Runs what `tsc -b` has made, as an installed package does, instead of the sources. @defaultValue false */
  readonly built?: boolean
}

const STOP_GRACE_MS = 30_000
const LOOK_MS = 50
const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url))
const LIFELINE = fileURLToPath(new URL('./end-with-parent.ts', import.meta.url))
const running = new Set<MeasuredProcess>()

export class MeasuredProcess {
  readonly startedAt: number = performance.now()
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #waiting: { pattern: RegExp; resolve: (mark: Mark & { line: string }) => void }[] = []
  readonly #exited: Promise<unknown>

  constructor({ script, args = [], env = {}, nodeOptions = [], built = false }: ProcessOptions) {
    const sources = built ? [] : ['--conditions=agent-audit-source']
    const node = [...sources, '--import', LIFELINE, ...nodeOptions]
    this.#child = spawn(process.execPath, [...node, script, ...args], {
      cwd: CHECKOUT,
      env: { ...process.env, ...env },
      // Its last lines are shown when it fails.
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#exited = once(this.#child, 'exit').finally(() => running.delete(this))
    running.add(this)
    for (const output of [this.#child.stdout, this.#child.stderr]) {
      if (output !== null) createInterface(output).on('line', (line) => this.#take(line))
    }
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  #take(line: string): void {
    this.#lines.push(line)
    for (const waiting of this.#waiting.splice(0)) {
      if (waiting.pattern.test(line)) waiting.resolve({ line, ...this.mark() })
      else this.#waiting.push(waiting)
    }
  }

  /** Its usage so far. Throws after it has ended. */
  mark(): Mark {
    return { at: performance.now(), ...readUsage(this.#child.pid) }
  }

  /** The first line from now on that matches. @throws Error with its last lines if the process ends before. */
  async line(pattern: RegExp): Promise<Mark & { line: string }> {
    const found = new Promise<Mark & { line: string }>((resolve) => this.#waiting.push({ pattern, resolve }))
    return Promise.race([
      found,
      this.#exited.then(() => {
        throw new Error(`the process under measurement ended:\n${this.lastLines()}`)
      }),
    ])
  }

  lastLines(): string {
    return this.#lines.slice(-20).join('\n')
  }

  /** Waits until it ends by itself. @throws Error if it failed. */
  async ended(): Promise<void> {
    await this.#exited
    if (this.#child.exitCode !== 0) throw new Error(`exit code ${this.#child.exitCode}:\n${this.lastLines()}`)
  }

  /** Waits as {@link MeasuredProcess.ended}. Its CPU and peak are of the last look at it, at most 50 ms before its end. */
  async measured(): Promise<{ readonly seconds: number; readonly cpuSeconds: number; readonly peakMb: number }> {
    const ended = this.ended()
    let last: Usage = { cpuUs: 0, peakRssBytes: 0 }
    while (this.isAlive) {
      last = this.#look() ?? last
      await Promise.race([sleep(LOOK_MS), ended.catch(() => undefined)])
    }
    const seconds = (performance.now() - this.startedAt) / 1000
    await ended
    return { seconds, cpuSeconds: last.cpuUs / 1e6, peakMb: Math.round(last.peakRssBytes / 2 ** 20) }
  }

  /** @returns undefined, if it has ended: what is left of it has no memory */
  #look(): Usage | undefined {
    try {
      const mark = this.mark()
      return Number.isNaN(mark.peakRssBytes) ? undefined : mark
    } catch {
      return undefined
    }
  }

  /** Ends it by SIGTERM, and by SIGKILL after 30 s. */
  async stop(): Promise<void> {
    if (!this.isAlive) return
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_GRACE_MS)
    await this.#exited
    clearTimeout(timer)
  }
}

/** Ends all measured processes. */
export async function stopMeasured(): Promise<void> {
  await Promise.all([...running].map((child) => child.stop()))
}
