/**
 * A lock on a file that the operating system frees when its holder dies, however it dies. A pid file would outlive a crash
 * and may name another process. SQLite in exclusive locking mode is the portable way to such a lock in Node.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync } from 'node:sqlite'

const SQLITE_BUSY = 5
const POLL_MS = 100

export interface FileLock {
  release(): void
}

/**
 * Takes the lock, or returns undefined when another process holds it. The file is made when it is missing.
 * @throws Error in one line, if the file is no lock file or cannot be opened.
 */
export function tryLock(path: string): FileLock | undefined {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path, { timeout: 0 })
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return { release: () => database?.close() }
  } catch (error) {
    database?.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined
    throw new Error(`lock file ${path}: ${(error as Error).message}`, { cause: error })
  }
}

/** Waits for the lock as long as its holder lives. */
export async function waitForLock(path: string): Promise<FileLock> {
  for (;;) {
    const lock = tryLock(path)
    if (lock !== undefined) return lock
    await sleep(POLL_MS)
  }
}
