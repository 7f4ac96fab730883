import { writeSync } from 'node:fs'

/** Prints a line before the next step begins: a printed step has happened, whenever the process ends or is killed. */
export function printLine(line: string | number): void {
  // The pipe may be full while a busy machine keeps the reader waiting.
  for (;;) {
    try {
      writeSync(1, `${line}\n`)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}
