/** The process around a command. */
import { asJson } from './render/text.ts'

export interface Terminal {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether `out` shows colours. */
  readonly colors: boolean
  /** Shows a line in the place of the one before; an empty one takes it away. Absent: not a terminal. */
  readonly progress?: (line: string) => void
  /** Resolves when the reader of `out` has taken enough to go on. Absent: at once. */
  readonly drained?: () => Promise<void>
  /** From now on, Ctrl-C ends the command in order: the signal. Absent: nothing does. */
  readonly interrupted?: () => AbortSignal
  /** Told the exit code as soon as the command knows it: the reader of `out` may close it before the end. */
  readonly exitCode?: (code: number) => void
}

const BLOCK_CHARACTERS = 65_536

/** Prints output of any length: in blocks, and no faster than its reader takes them. */
export class Printer {
  readonly #terminal: Terminal
  #text = ''

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  async print(text: string): Promise<void> {
    this.#text += text
    if (this.#text.length >= BLOCK_CHARACTERS) await this.flush()
  }

  /** Needed at the end: after an error before the first block, nothing was printed. */
  async flush(): Promise<void> {
    this.#terminal.out(this.#text)
    this.#text = ''
    await this.#terminal.drained?.()
  }
}

/** One JSON array, an element at a time: all of them may be more than a string can hold. */
export async function printArray(terminal: Terminal, elements: readonly unknown[]): Promise<void> {
  const printer = new Printer(terminal)
  await printer.print('[')
  for (const [index, element] of elements.entries()) await printer.print(`${index === 0 ? '' : ','}${asJson(element)}`)
  await printer.print(']\n')
  await printer.flush()
}

/**
 * Exit codes (docs/errors.md has the table). `verify` also has 2, for what is incomplete, and 4, for gaps that are claimed. Wrong use is 64,
 * as in sysexits.h, so that a script never takes a missing variable for a loss.
 */
export const EXIT = { done: 0, finding: 1, wrongUse: 64, notCompleted: 3 } as const
