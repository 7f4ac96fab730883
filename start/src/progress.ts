/** The progress line: rewritten in place on a terminal; elsewhere a new line at most every 2 s. */

export interface Progress {
  /** Replaces the line. */
  update(line: string): void
  /** Prints a permanent line above the changing one. */
  say(line: string): void
  /** Ends the changing line: its last state stays. */
  end(): void
}

/** Without a terminal: shortest time between two lines, milliseconds. */
const SPARSE_MS = 2000
const DEFAULT_COLUMNS = 80

/** A count for people: `12,345`. */
export function figure(value: number): string {
  return value.toLocaleString('en-US')
}

export function createProgress(stream: NodeJS.WriteStream): Progress {
  return stream.isTTY ? onTerminal(stream) : sparse(stream)
}

function onTerminal(stream: NodeJS.WriteStream): Progress {
  let shown = ''
  const clear = (): void => void (shown !== '' && stream.write('\r\x1b[K'))
  return {
    update(line) {
      clear()
      // A wrapped line could not be erased.
      shown = line.slice(0, (stream.columns || DEFAULT_COLUMNS) - 1)
      stream.write(shown)
    },
    say(line) {
      clear()
      stream.write(`${line}\n${shown}`)
    },
    end() {
      if (shown !== '') stream.write('\n')
      shown = ''
    },
  }
}

function sparse(stream: NodeJS.WriteStream): Progress {
  let writtenAt = performance.now()
  let latest = ''
  let written = ''
  const write = (): void => {
    if (latest !== written) stream.write(`${latest}\n`)
    written = latest
    writtenAt = performance.now()
  }
  return {
    update(line) {
      latest = line
      if (performance.now() - writtenAt >= SPARSE_MS) write()
    },
    say: (line) => void stream.write(`${line}\n`),
    end: write,
  }
}
