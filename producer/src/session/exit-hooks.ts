/** The end of the process: recorded events are handed over and committed before. One set of hooks serves all trails. */

/** What a trail does at the end of its process. */
export interface ExitHandler {
  /** The process is idle but may go on: waits for events under way, bounded. */
  onIdle(): Promise<void>
  /** The process ends now: blocks until recorded events are stored, bounded. */
  onExit(): void
}

const SIGNALS = ['SIGTERM', 'SIGINT'] as const

/** Marks the listeners of every copy of this package. */
const OURS: unique symbol = Symbol.for('@agent-audit/producer exit listener')

const handlers = new Set<ExitHandler>()

/** Calls the handler until it is removed; the exit code and other listeners are as they would be without it. */
export function addExitHandler(handler: ExitHandler): void {
  if (handlers.size === 0) {
    process.on('beforeExit', onBeforeExit)
    process.on('exit', onExit)
    // In front: a `once` listener of the caller is still counted when ours runs.
    for (const signal of SIGNALS) process.prependListener(signal, onSignal)
  }
  handlers.add(handler)
}

export function removeExitHandler(handler: ExitHandler): void {
  handlers.delete(handler)
  if (handlers.size === 0) removeListeners()
}

function removeListeners(): void {
  process.off('beforeExit', onBeforeExit)
  process.off('exit', onExit)
  for (const signal of SIGNALS) process.off(signal, onSignal)
}

function onBeforeExit(): void {
  for (const handler of handlers) void handler.onIdle()
}

/** Uncaught errors come here too. */
function onExit(): void {
  for (const handler of handlers) handler.onExit()
}

/**
 * A signal with a listener does not end the process any more: where only this package listens, the signal is sent again. A
 * process may have loaded the package twice; each copy then recognises the other's listener by its mark.
 */
function onSignal(signal: NodeJS.Signals): void {
  onExit()
  if (process.listeners(signal).some((listener) => !(OURS in listener))) return
  process.off(signal, onSignal)
  process.kill(process.pid, signal)
}

Object.defineProperty(onSignal, OURS, { value: true })
