/**
 * Used approvals of the processes that share a spool directory: one file each, which only one process can create. Its text is
 * the approval's expiry: from then on the guard refuses the approval by its date, and the file may go.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { opendir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/**
 * How long a file stays after the expiry. A process whose clock is behind still takes the approval for valid, and must find
 * the file: no clock of a working host is behind by a day.
 */
const MARGIN_MS = DAY_MS
/** The longest lifetime that a request or an override may have (check-approvals.ts). */
const LONGEST_LIFETIME_MS = 366 * DAY_MS
const REMOVAL_INTERVAL_MS = HOUR_MS

const FILE = /^approval-.+\.used$/
/** Complete: a process that is killed while it writes leaves the beginning of a date, which could be read as an earlier one. */
const EXPIRY = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\n$/

export class ApprovalFiles {
  readonly #directory: string
  #removedAt = Number.NEGATIVE_INFINITY

  constructor(directory: string) {
    this.#directory = directory
  }

  /** @returns false when the approval is used up already. @throws when that cannot be determined. */
  create(id: string, expiresAt: string): boolean {
    let file: number
    try {
      file = openSync(this.#fileOf(id), 'wx', 0o600)
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
      throw error
    }
    try {
      writeSync(file, `${new Date(expiresAt).toISOString()}\n`)
    } catch {
      // The disk is full. The claim is made all the same: the name counts, and the file goes by its age.
    } finally {
      closeSync(file)
    }
    return true
  }

  remove(id: string): void {
    rmSync(this.#fileOf(id), { force: true })
  }

  /** Removes the files of expired approvals, at most once an hour. In the background: no call waits for it. */
  removeExpired(): void {
    const now = Date.now()
    if (Math.abs(now - this.#removedAt) < REMOVAL_INTERVAL_MS) return
    this.#removedAt = now
    // What cannot be removed now is tried an hour later.
    removeExpired(this.#directory, now - MARGIN_MS).catch(() => undefined)
  }

  #fileOf(id: string): string {
    return join(this.#directory, `approval-${id}.used`)
  }
}

/** @param before - Removes files whose approvals expired before this time, milliseconds since 1970. */
async function removeExpired(directory: string, before: number): Promise<void> {
  for await (const { name } of await opendir(directory)) {
    if (!FILE.test(name)) continue
    const path = join(directory, name)
    // Another process may remove it meanwhile.
    const expiry = await expiryOf(path).catch(() => Number.POSITIVE_INFINITY)
    if (expiry < before) await rm(path, { force: true })
  }
}

/** Milliseconds since 1970. Without a complete date in the file: the latest expiry that an approval of its age can have. */
async function expiryOf(path: string): Promise<number> {
  const text = await readFile(path, 'utf8')
  if (EXPIRY.test(text)) return Date.parse(text.trimEnd())
  return (await stat(path)).mtimeMs + LONGEST_LIFETIME_MS
}
