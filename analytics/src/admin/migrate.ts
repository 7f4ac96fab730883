/** Brings the tables of a database up to date. It needs an admin: writers and readers lack the rights. */
import { IntegrityError, type Migration, readMigrations, statementsIn } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'

export interface MigrationReport {
  /** File names that this call applied, in order; empty if none was pending. */
  readonly applied: readonly string[]
  /** Number of files applied before. */
  readonly present: number
}

const TABLE = 'audit_migrations'

/**
 * Creates the database if it is missing and applies, in order, the migrations it lacks. Idempotent.
 *
 * Two processes at once: every statement may run twice (CREATE … IF NOT EXISTS), and a migration is noted only after its
 * statements. So a second process that starts in between, or the next one after a crash, runs them again without effect, and
 * adds the same note.
 * @throws IntegrityError `MIGRATION_CHANGED` naming the file, if one was edited after it had been applied: then the tables
 * differ from the file, and no migration is applied.
 */
export async function migrate(admin: Analytics): Promise<MigrationReport> {
  await admin.command('CREATE DATABASE IF NOT EXISTS {database:Identifier}')
  await admin.command(
    `CREATE TABLE IF NOT EXISTS {database:Identifier}.${TABLE}
     (name String, sha256 String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = MergeTree ORDER BY name`,
  )
  const migrations = readMigrations()
  const pending = await pendingOf(admin, migrations)
  for (const migration of pending) await apply(admin, migration)
  await pendingOf(admin, migrations)
  return { applied: pending.map(({ name }) => name), present: migrations.length - pending.length }
}

async function pendingOf(admin: Analytics, migrations: readonly Migration[]): Promise<Migration[]> {
  const rows = await admin.rows<{ name: string; sha256: string }>(
    `SELECT DISTINCT name, sha256 FROM {database:Identifier}.${TABLE}`,
  )
  return migrations.filter((migration) => {
    const noted = rows.filter((row) => row.name === migration.name)
    if (noted.some(({ sha256 }) => sha256 !== migration.sha256)) throw changed(admin, migration)
    return noted.length === 0
  })
}

async function apply(admin: Analytics, migration: Migration): Promise<void> {
  const { name, sha256 } = migration
  for (const statement of statementsIn(migration, admin.database)) await admin.command(statement)
  await admin.command(
    `INSERT INTO {database:Identifier}.${TABLE} (name, sha256) SELECT {name:String}, {sha256:String}`,
    { name, sha256 },
  )
}

function changed(admin: Analytics, { name }: Migration): IntegrityError {
  const message = `migration ${name} was edited after it had been applied to database "${admin.database}" at ${admin.address}: restore the file and put the change into a new migration`
  return new IntegrityError('MIGRATION_CHANGED', message)
}
