/**
 * The parts that this process has started and not yet stopped.
 *
 * The program handles its signals: it calls {@link stopAll} on SIGINT or SIGTERM and chooses its exit code. This file
 * installs no handler. When the process is killed, its parts end by themselves: each lives only as long as this process
 * holds the other end of its pipe.
 */
interface Part {
  stop(): Promise<void>
}

const running = new Set<Part>()

/** Adds `part` to the list. @returns the part with a `stop` that runs once and removes it from the list. */
export function track<T extends Part>(part: T): T & AsyncDisposable {
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopping ??= part.stop().finally(() => running.delete(tracked))
    return stopping
  }
  const tracked = { ...part, stop, [Symbol.asyncDispose]: stop }
  running.add(tracked)
  return tracked
}

/** Stops all parts, the youngest first. Tries them all; rejects with an AggregateError if some did not stop. */
export async function stopAll(): Promise<void> {
  const failures: unknown[] = []
  for (const part of [...running].toReversed()) await part.stop().catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} parts did not stop in order`)
}
