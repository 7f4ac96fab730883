/**
 * Loaded before the program, in each of its threads. While a file `unreadable` exists beside a spool that another run left,
 * each read of that spool's chunks fails as on a broken disk: SQLITE_IOERR, which says nothing about the content.
 */
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'

const IO_ERROR = 10
const database = DatabaseSync.prototype as unknown as { prepare: (this: DatabaseSync, sql: string) => StatementSync }
const { prepare } = database

/** Spools that are there before this program makes its own. */
const directory = process.env['UNREADABLE_SPOOLS'] ?? ''
const left = new Set(readdirSync(directory).map((name) => join(directory, name)))

database.prepare = function prepareFailing(sql) {
  const statement = prepare.call(this, sql)
  const file = this.location() ?? ''
  if (!left.has(file) || !sql.startsWith('SELECT id, size FROM chunk')) return statement
  const get = statement.get.bind(statement)
  Object.defineProperty(statement, 'get', {
    value: (id: number) => {
      if (!existsSync(join(dirname(file), 'unreadable'))) return get(id)
      throw Object.assign(new Error('disk I/O error'), { code: 'ERR_SQLITE_ERROR', errcode: IO_ERROR })
    },
  })
  return statement
}
