/**
 * Loaded before the program, in each of its threads. Makes the delivery thread fail once in its own work right after the
 * embedded log has accepted a batch: the next `push` to an array throws.
 */
import { DatabaseSync } from 'node:sqlite'
import { isMainThread } from 'node:worker_threads'

const lists = Array.prototype as unknown as Record<string, unknown>
const database = DatabaseSync.prototype as unknown as { exec: (this: DatabaseSync, sql: string) => void }
const push = lists['push']
const { exec } = database

function failOnce(): never {
  lists['push'] = push
  throw new Error('a fault of the test')
}

if (!isMainThread) {
  let appending = false
  let failed = false
  database.exec = function execAndFail(sql) {
    exec.call(this, sql)
    // Only the log's file has transactions of more than one statement, and its topic exists already.
    if (sql === 'BEGIN IMMEDIATE') appending = true
    if (sql !== 'COMMIT' || !appending || failed) return
    failed = true
    lists['push'] = failOnce
  }
}
