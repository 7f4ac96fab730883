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

const FOLDER = new URL('../../clickhouse/', import.meta.url)

/** Reads all migrations. Statements end with a semicolon at the end of a line. */
export function readMigrations(): Migration[] {
  const files = readdirSync(FOLDER).filter((file) => /^\d{4}_.+\.sql$/.test(file))
  return files.toSorted().map((name) => {
    const text = readFileSync(new URL(name, FOLDER), 'utf8')
    const statements = text.split(/;\s*$/m).map((statement) => statement.trim())
    return {
      number: Number(name.slice(0, 4)),
      name,
      statements: statements.filter((statement) => statement !== ''),
      sha256: createHash('sha256').update(text).digest('hex'),
    }
  })
}
