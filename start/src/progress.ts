/** One line that says how far the work is: rewritten in place on a terminal, now and then a new one elsewhere. */

export interface Progress {
  /** Shows the line as it is now. */
  update(line: string): void
  /** Prints a line that stays, above the one that changes. */
  say(line: string): void
  /** Leaves the last line standing. */
  end(): void
}

/** Where there is no terminal: at most one line in this time, milliseconds. */
const SPARSE_MS = 2000
const DEFAULT_COLUMNS = 80

export function createProgress(stream: NodeJS.WriteStream): Progress {
  return stream.isTTY ? onTerminal(stream) : sparse(stream)
}

function onTerminal(stream: NodeJS.WriteStream): Progress {
  let shown = ''
  const clear = (): void => void (shown !== '' && stream.write('\r\x1b[K'))
  return {
    update(line) {
      clear()
      // A line that wraps could not be taken back.
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
