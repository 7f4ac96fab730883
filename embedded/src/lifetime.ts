/**
 * Everything this process has started and not yet stopped.
 *
 * Whoever owns the process owns its signals: it calls {@link stopAll} on SIGINT or SIGTERM and picks its own exit code.
 * No handler is installed here. What is not stopped in order, because the process was killed, ends by itself: each part
 * lives only as long as this process holds the other end of its pipe.
 */
interface Part {
  stop(): Promise<void>
}

const running = new Set<Part>()

/** Enters `part`, and gives it back with a `stop` that works once and leaves the list. */
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

/** Stops all parts, the youngest first. Rejects with an AggregateError if some did not stop, after trying them all. */
export async function stopAll(): Promise<void> {
  const failures: unknown[] = []
  for (const part of [...running].toReversed()) await part.stop().catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length} parts did not stop in order`)
}
