/** The numbered ClickHouse migrations of clickhouse/, oldest first. An admin applies them; applied files are never edited. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'

export interface Migration {
  /** From the file name, from 1. */
  readonly number: number
  /** File name, such as `0001_audit_events.sql`. */
  readonly name: string
  /** Statements, without their semicolons. */
  readonly statements: readonly string[]
  /** SHA-256 of the file, hex: it shows an applied migration that was edited later, which is refused. */
  readonly sha256: string
}

/**
 * The statements of a migration, for the tables of one database. The files name none: the operator chooses it. It is no parameter
 * of the statement: within a view the server would take it for one of the view's own.
 */
export function statementsIn({ statements }: Migration, database: string): string[] {
  const quoted = `\`${database.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``
  const named = /(?:^CREATE (?:TABLE|VIEW) IF NOT EXISTS|^ALTER TABLE|\bFROM) (?=audit_)/gm
  return statements.map((statement) => statement.replaceAll(named, (before) => `${before}${quoted}.`))
}

/** Reads all migrations. Statements end with a semicolon at the end of a line. */
export function readMigrations(): Migration[] {
  // Not at import: a bundled agent, which never migrates, has no such folder, nor an import.meta.url in a CommonJS bundle.
  const folder = new URL('../../clickhouse/', import.meta.url)
  const files = readdirSync(folder).filter((file) => /^\d{4}_.+\.sql$/.test(file))
  return files.toSorted().map((name) => {
    const text = readFileSync(new URL(name, folder), 'utf8')
    const statements = text.split(/;\s*$/m).map((statement) => statement.trim())
    return {
      number: Number(name.slice(0, 4)),
      name,
      statements: statements.filter((statement) => statement !== ''),
      sha256: createHash('sha256').update(text).digest('hex'),
    }
  })
}
