/** The file of a sink, watched from outside of the notary's process. */
import { closeSync, openSync, readSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { readCheckpointLine } from '@agent-audit/seals'

const LOOK_MS = 2
const LONGEST_WAIT_MS = 60_000

/** Appended by the broker, or seen in the file, when the log had so many leaves. */
export interface Step {
  readonly at: number
  readonly size: number
}

/** Looks at the file every 2 ms, by the clock that the broker has: all run on one machine. */
export class SinkWatch {
  readonly seen: Step[] = []
  readonly #file: number
  readonly #timer: NodeJS.Timeout
  #rest = ''
  #at = 0

  constructor(path: string) {
    this.#file = openSync(path, 'r')
    this.#timer = setInterval(() => this.#look(), LOOK_MS)
  }

  #look(): void {
    const bytes = Buffer.alloc(65_536)
    const read = readSync(this.#file, bytes, 0, bytes.length, this.#at)
    if (read === 0) return
    this.#at += read
    const lines = (this.#rest + bytes.toString('latin1', 0, read)).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.seen.push({ at: Date.now(), size: readCheckpointLine(line)?.size ?? 0 })
  }

  async reached(size: number): Promise<void> {
    const deadline = performance.now() + LONGEST_WAIT_MS
    while ((this.seen.at(-1)?.size ?? 0) < size) {
      if (performance.now() > deadline) throw new Error(`no checkpoint of ${size} leaves within ${LONGEST_WAIT_MS} ms`)
      await sleep(LOOK_MS)
    }
  }

  close(): void {
    clearInterval(this.#timer)
    closeSync(this.#file)
  }
}
