/**
 * The work under way in a folder: the plan of a round, and its files that are done, in one SQLite file. Its lock is held for
 * the whole run, and dropped by the kernel when the process dies: two exports never write into one folder.
 */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import type { FileDigest } from './whole-file.ts'
import type { ExportRange, PlannedFile, Round } from './manifest.ts'

const FILE = '.export.db'
const BUSY = 5

/** What a round writes. Everything that is not in it follows from it, so a killed run is finished by any later one. */
export interface Plan {
  readonly range: ExportRange
  readonly round: Round
  readonly files: readonly PlannedFile[]
}

export class Work implements Disposable {
  readonly #database: DatabaseSync

  /**
   * @param directory - Exists.
   * @throws AuditUnavailableError `EXPORT_BUSY` if another process exports into it; InvalidInputError `INPUT_UNREADABLE` if
   * the file is damaged.
   */
  constructor(directory: string) {
    const path = join(directory, FILE)
    const database = new DatabaseSync(path)
    try {
      database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; BEGIN EXCLUSIVE')
      database.exec(`CREATE TABLE IF NOT EXISTS plan (plan TEXT NOT NULL) STRICT;
        CREATE TABLE IF NOT EXISTS done (path TEXT PRIMARY KEY, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL) STRICT; COMMIT`)
    } catch (cause) {
      database.close()
      if ((cause as { errcode?: number }).errcode === BUSY)
        throw new AuditUnavailableError('EXPORT_BUSY', `another process exports into ${directory}`, { cause })
      const message = `${path} cannot be read (${(cause as Error).message}): remove it, or export into another folder`
      throw new InvalidInputError('INPUT_UNREADABLE', message, { cause })
    }
    this.#database = database
  }

  /** The plan that a killed run has left. */
  get plan(): Plan | undefined {
    const row = this.#database.prepare('SELECT plan FROM plan').get()
    return row === undefined ? undefined : (JSON.parse(String(row['plan'])) as Plan)
  }

  begin(plan: Plan): void {
    this.#database.prepare('INSERT INTO plan VALUES (?)').run(JSON.stringify(plan))
  }

  /** The file has its name. */
  note(path: string, { bytes, sha256 }: FileDigest): void {
    this.#database.prepare('INSERT OR REPLACE INTO done VALUES (?, ?, ?)').run(path, bytes, sha256)
  }

  /** As it was noted. */
  done(path: string): FileDigest | undefined {
    const row = this.#database.prepare('SELECT bytes, sha256 FROM done WHERE path = ?').get(path)
    return row === undefined ? undefined : { bytes: Number(row['bytes']), sha256: String(row['sha256']) }
  }

  /** The manifest has all of it. */
  end(): void {
    this.#database.exec('BEGIN; DELETE FROM done; DELETE FROM plan; COMMIT')
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}
