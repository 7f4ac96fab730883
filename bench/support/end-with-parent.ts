/** Loaded into a measured process: ends it when the benchmark has ended, even by SIGKILL. */
import { isMainThread } from 'node:worker_threads'

// Worker threads load it too; their standard input does not show whether the parent lives.
if (isMainThread) {
  const lifeline = process.stdin as NodeJS.ReadStream & { unref?: () => void }
  lifeline.on('error', () => {})
  lifeline.once('close', () => process.exit(1))
  lifeline.resume()
  // The listener must not keep a finished process alive.
  lifeline.unref?.()
}
