/** Loaded before a process under measurement: ends it when the benchmark is gone, even by SIGKILL. */
import { isMainThread } from 'node:worker_threads'

// Worker threads load it too; their standard input says nothing of the parent.
if (isMainThread) {
  const lifeline = process.stdin as NodeJS.ReadStream & { unref?: () => void }
  lifeline.on('error', () => {})
  lifeline.once('close', () => process.exit(1))
  lifeline.resume()
  // It must not keep alive a process that has finished.
  lifeline.unref?.()
}
