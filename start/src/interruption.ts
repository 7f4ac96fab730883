/** Ctrl-C, SIGTERM and SIGHUP: the run ends in order, and its exit code names the signal. */

export interface Interruption extends Disposable {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal
  /** 128 plus the signal's number, after a signal; undefined before. */
  readonly exitCode: number | undefined
}

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

/** The second signal ends the process at once: the processes that it started notice, and end too. */
export function watchSignals(): Interruption {
  const controller = new AbortController()
  let exitCode: number | undefined
  const onSignal = (name: keyof typeof EXIT_CODES): void => {
    if (exitCode !== undefined) process.exit(exitCode)
    exitCode = EXIT_CODES[name]
    controller.abort()
  }
  const names = Object.keys(EXIT_CODES) as (keyof typeof EXIT_CODES)[]
  for (const name of names) process.on(name, onSignal)
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode
    },
    [Symbol.dispose]: () => {
      for (const name of names) process.off(name, onSignal)
    },
  }
}
