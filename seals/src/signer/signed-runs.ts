/** What a signer has signed of each run, or partition, in a small SQLite file that one process alone can have open. */
import { closeSync, openSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { quoted } from '../notes/lines.ts'

/** The last seal of a run, or of a partition, that was signed. */
export interface SignedRun {
  readonly number: number
  /** Last run_seq, or offset, of its range. */
  readonly last: number
  readonly state: 'open' | 'closed' | 'adopted'
  readonly note: string
}

const APPLICATION_ID = 0x6175_7369
const DDL = `
  CREATE TABLE signer (key_name TEXT NOT NULL) STRICT;
  CREATE TABLE runs (run TEXT PRIMARY KEY, number INTEGER NOT NULL, last INTEGER NOT NULL, state TEXT NOT NULL, note TEXT NOT NULL)
    STRICT, WITHOUT ROWID;`

export class SignedRuns {
  readonly #db: DatabaseSync
  readonly #select: StatementSync
  readonly #upsert: StatementSync

  /**
   * @param keyName - The file is of this key name alone: a successor of the key goes on with it.
   * @throws AuditUnavailableError with code SIGNER_UNAVAILABLE, IntegrityError with code SEAL_INVALID
   */
  constructor(file: string, keyName: string) {
    try {
      // Made here, since SQLite would make it readable for all.
      closeSync(openSync(file, 'a', 0o600))
      this.#db = new DatabaseSync(file)
      // Locked until the process ends: with two states, history could be signed twice.
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA fullfsync = 1; BEGIN EXCLUSIVE')
      const isNew = this.#pragma('application_id') === 0 && this.#pragma('schema_version') === 0
      if (isNew) this.#db.exec(`PRAGMA application_id = ${APPLICATION_ID}; ${DDL}`)
      if (isNew) this.#db.prepare('INSERT INTO signer VALUES (?)').run(keyName)
      this.#db.exec('COMMIT')
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new AuditUnavailableError('SIGNER_UNAVAILABLE', `cannot open the signer's state ${file}: ${reason}`, {
        cause: error,
      })
    }
    this.#expectKey(file, keyName)
    this.#select = this.#db.prepare('SELECT number, last, state, note FROM runs WHERE run = ?')
    this.#upsert = this.#db.prepare('INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)')
  }

  #pragma(name: string): number {
    return Number(this.#db.prepare(`PRAGMA ${name}`).get()?.[name])
  }

  #expectKey(file: string, keyName: string): void {
    const found =
      this.#pragma('application_id') === APPLICATION_ID
        ? this.#db.prepare('SELECT key_name FROM signer').get()?.['key_name']
        : undefined
    if (found === keyName) return
    this.#db.close()
    const kind = typeof found === 'string' ? `the state of the key ${quoted(found)}` : 'no state of a signer'
    throw new IntegrityError('SEAL_INVALID', `${file}: expected the state of the key ${quoted(keyName)}, found ${kind}`)
  }

  get(runId: string): SignedRun | undefined {
    return this.#select.get(runId) as SignedRun | undefined
  }

  /** On the disk when it returns. */
  set(runId: string, { number, last, state, note }: SignedRun): void {
    this.#upsert.run(runId, number, last, state, note)
  }

  close(): void {
    this.#db.close()
  }
}
