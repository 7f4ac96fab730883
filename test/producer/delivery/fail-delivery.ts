/**
 * Loaded before the program, in each of its threads. Makes delivery fail in its own work. FAIL_DELIVERY says where, after how
 * many, and in how many deliveries of the process, the first ones: `taken 5 1` when the first delivery takes its fifth chunk,
 * which it has not stored then; `stored 5 1` when it has stored it and not reported it; `sent 1 1` when the embedded log has
 * accepted a batch that is not acknowledged yet; `trimmed 1 1` when it has trimmed acknowledged chunks. The next `push` to an
 * array throws there, and after a trim the next `get` of a map.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { isMainThread, threadId } from 'node:worker_threads'

const [where = '', after = '1', deliveries = '1'] = (process.env['FAIL_DELIVERY'] ?? '').split(' ')
/** Of this thread. A worker thread has one delivery; the main thread has several, where there are no workers. */
const mostFailures = isMainThread ? Number(deliveries) : Number(threadId <= Number(deliveries))

const lists = Array.prototype as unknown as Record<string, unknown>
const database = DatabaseSync.prototype as unknown as {
  exec: (this: DatabaseSync, sql: string) => void
  prepare: (this: DatabaseSync, sql: string) => StatementSync
}
const push = lists['push'] as (this: unknown[], ...items: unknown[]) => number
const { exec, prepare } = database

let failures = 0
let seen = 0

function passes(): boolean {
  return failures < mostFailures && ++seen === Number(after)
}

function fail(): never {
  lists['push'] = where === 'taken' ? pushUnlessTaken : push
  seen = 0
  failures++
  throw new Error('a fault of the test')
}

function pushUnlessTaken(this: unknown[], ...items: unknown[]): number {
  const [item] = items
  const isChunk = typeof item === 'object' && item !== null && 'fromTrail' in item
  if (isChunk && passes()) fail()
  return push.apply(this, items)
}

if (where === 'taken') lists['push'] = pushUnlessTaken

/** Does something after each run of the statements that begin so. */
function afterRuns(of: string, work: () => void): void {
  database.prepare = function prepareWatched(sql) {
    const statement = prepare.call(this, sql)
    if (!sql.startsWith(of)) return statement
    const run = statement.run.bind(statement)
    Object.defineProperty(statement, 'run', {
      value: (...values: Parameters<StatementSync['run']>) => {
        const result = run(...values)
        work()
        return result
      },
    })
    return statement
  }
}

if (where === 'stored') {
  afterRuns('INSERT INTO chunk', () => {
    if (passes()) lists['push'] = fail
  })
}

if (where === 'trimmed') {
  const maps = Map.prototype as unknown as Record<string, unknown>
  const get = maps['get']
  afterRuns('DELETE FROM chunk', () => {
    if (!passes()) return
    maps['get'] = () => {
      maps['get'] = get
      return fail()
    }
  })
}

if (where === 'sent') {
  let appending = false
  database.exec = function execAndFail(sql) {
    exec.call(this, sql)
    // Only the log's file has transactions of more than one statement, and its topic exists already.
    if (sql === 'BEGIN IMMEDIATE') appending = true
    if (sql !== 'COMMIT' || !appending) return
    appending = false
    if (passes()) lists['push'] = fail
  }
}
