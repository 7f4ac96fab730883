/**
 * Loaded before the producer, in each of its threads: kills the process right after a statement of its spool that begins as the file
 * STRIKE_FILE says. Without the file nothing happens.
 */
import { readFileSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'

/** Environment variable with the path of the file. */
export const STRIKE_FILE = 'FAULTS_STRIKE_FILE'

const file = process.env[STRIKE_FILE] ?? ''
const database = DatabaseSync.prototype as unknown as {
  prepare: (this: DatabaseSync, sql: string) => StatementSync
}
const { prepare } = database

function armed(): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

database.prepare = function prepareWatched(sql) {
  const statement = prepare.call(this, sql)
  if (file === '' || !/^(INSERT|DELETE|UPDATE)/.test(sql)) return statement
  const run = statement.run.bind(statement)
  Object.defineProperty(statement, 'run', {
    value: (...values: Parameters<StatementSync['run']>) => {
      const result = run(...values)
      const start = armed()
      if (start !== undefined && sql.startsWith(start)) process.kill(process.pid, 'SIGKILL')
      return result
    },
  })
  return statement
}
