/**
 * Loaded before the program, in each of its threads. Makes the delivery thread fail once in its own work right after the
 * embedded log has taken a batch: the next list that grows throws.
 */
import { DatabaseSync } from 'node:sqlite'
import { isMainThread } from 'node:worker_threads'

if (!isMainThread) {
  const { exec } = DatabaseSync.prototype
  const { push } = Array.prototype
  let appending = false
  let failed = false
  DatabaseSync.prototype.exec = function execAndFail(sql: string): void {
    exec.call(this, sql)
    // Only appends to a log that exists are transactions of more than one statement.
    if (sql === 'BEGIN IMMEDIATE') appending = true
    if (sql !== 'COMMIT' || !appending || failed) return
    failed = true
    Array.prototype.push = function failOnce(): number {
      Array.prototype.push = push
      throw new Error('a fault of the test')
    }
  }
}
