/**
 * Loaded before the program, in each of its threads. Kills the process right after a statement of SQLite has run: KILL_AT is how
 * often, and how the statement begins, such as `3 INSERT INTO leaves`.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'

const [, times = '1', of = ''] = /^(\d+) (.*)$/.exec(process.env['KILL_AT'] ?? '') ?? []
const database = DatabaseSync.prototype as unknown as {
  prepare: (this: DatabaseSync, sql: string) => StatementSync
}
const { prepare } = database
let seen = 0

database.prepare = function prepareWatched(sql) {
  const statement = prepare.call(this, sql)
  if (of === '' || !sql.startsWith(of)) return statement
  const run = statement.run.bind(statement)
  Object.defineProperty(statement, 'run', {
    value: (...values: Parameters<StatementSync['run']>) => {
      const result = run(...values)
      if (++seen === Number(times)) process.kill(process.pid, 'SIGKILL')
      return result
    },
  })
  return statement
}
