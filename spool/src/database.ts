/**
 * The storage core of both logs: opens a SQLite file, sets its pragmas and schema, runs transactions, and translates
 * SQLite's errors. One file is one {@link Database}.
 *
 * Non-obvious: SQLite's locks are POSIX record locks, which the kernel drops as soon as ANY descriptor of that file is
 * closed in the process. So no code here or above may open a database file with node:fs once SQLite may have it open.
 * Renaming, unlinking and stat are safe.
 */
import { closeSync, linkSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { randomUUID } from 'node:crypto'
import { dirname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { AuditUnavailableError, type ErrorCode, IntegrityError, TrailError } from '@agent-audit/schemas'

/** A kind of file: its schema, and the codes of its errors. */
export interface StoreKind {
  /** Its name in messages, such as `spool`. */
  readonly noun: string
  /** SQLite's application_id, which identifies the project's files. */
  readonly applicationId: number
  /** SQLite's user_version. A file of another version is left alone. */
  readonly schemaVersion: number
  readonly ddl: string
  /** Whether free pages can be given back in steps (incremental_vacuum); else only all at once. */
  readonly stepwiseShrink: boolean
  /** Code for a disk or lock out of reach; retry later. */
  readonly unavailable: ErrorCode
  /** Code for content that differs from the bytes written; stop. */
  readonly corrupt: ErrorCode
}

export interface OpenOptions {
  /**
   * `exclusive`: only this connection; it holds the lock until it is closed or the process ends. `existing`: the same, but
   * an empty file stays empty. `shared`: several processes. `read`: shared, and nothing can be written.
   */
  readonly access: 'exclusive' | 'existing' | 'shared' | 'read'
  /** How long a statement waits for another process's lock, milliseconds. */
  readonly busyTimeoutMs: number
  /** Whether a commit waits for the disk (power loss) or only for the operating system (death of the process). */
  readonly fsync: boolean
}

/** A larger page halves the cost of large blobs and doubles that of tiny commits; 8 KiB measured best for both. */
const PAGE_BYTES = 8192
/** At this size the write-ahead log is copied back, and truncated to it: small enough to stay in the page cache. */
const WAL_BYTES = 8 * 1024 * 1024

const BUSY = 5
const LOCKED = 6
const UNAVAILABLE = new Set([3, BUSY, LOCKED, 7, 8, 9, 10, 13, 14, 15, 22, 23])

/** SQLite's primary result code of an error of node:sqlite; undefined for any other error. */
function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined
  return error.errcode & 0xff
}

/** Whether an error means that another connection holds the file's lock. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error instanceof TrailError ? error.cause : error)
  return code === BUSY || code === LOCKED
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** An operating-system error (EACCES, EROFS, ENOSPC, …) while `doing` something with a file, as the kind's error. */
export function unavailable(kind: StoreKind, doing: string, error: unknown): Error {
  if (error instanceof TrailError) return error
  return new AuditUnavailableError(kind.unavailable, `cannot ${doing}: ${reasonOf(error)}`, { cause: error })
}

/** Makes the directory; a new one is for its owner only, because it will hold the agents' events. */
export function makeDirectory(kind: StoreKind, directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw unavailable(kind, `make the directory ${directory}`, error)
  }
}

/** Makes an empty file that only its owner may read; SQLite gives the same mode to its journal files. */
export function createPrivateFile(kind: StoreKind, file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600))
  } catch (error) {
    throw unavailable(kind, `create ${file}`, error)
  }
}

export class Database {
  readonly file: string
  readonly #kind: StoreKind
  readonly #db: DatabaseSync
  readonly #statements: Map<string, StatementSync> = new Map<string, StatementSync>()
  #wroteSinceLook = false
  #seenVersion: number | undefined

  constructor(kind: StoreKind, file: string, options: OpenOptions) {
    this.file = file
    this.#kind = kind
    this.#db = this.#guard('open', () => openExisting(file, options.access === 'read'))
    try {
      this.#guard('open', () => this.#configure(options))
    } catch (error) {
      this.close()
      throw error
    }
  }

  #configure(options: OpenOptions): void {
    const db = this.#db
    db.exec(`PRAGMA busy_timeout = ${options.busyTimeoutMs}`)
    const { access } = options
    if (access === 'exclusive' || access === 'existing') this.#lockExclusively(access === 'exclusive')
    if (access === 'existing' && this.fileBytes() === 0) return
    this.#checkKind()
    if (access === 'read') return
    // WAL: a commit is one append, a crash at any byte leaves the last whole commit, and NORMAL loses nothing when a
    // process dies. FULL syncs each commit; fullfsync makes that reach the platter on macOS.
    db.exec('PRAGMA journal_mode = WAL')
    db.exec(`PRAGMA synchronous = ${options.fsync ? 'FULL' : 'NORMAL'}; PRAGMA fullfsync = ${options.fsync ? 1 : 0}`)
    db.exec(`PRAGMA wal_autocheckpoint = ${WAL_BYTES / PAGE_BYTES}; PRAGMA journal_size_limit = ${WAL_BYTES}`)
  }

  /**
   * Takes the file's lock for as long as this connection lives, and makes the schema in a new file. In this order a
   * file in WAL mode needs no shared memory, the switch to WAL cannot meet another connection, and a file that has a
   * write-ahead log is not empty.
   */
  #lockExclusively(create: boolean): void {
    const db = this.#db
    const vacuum = create && this.#kind.stepwiseShrink ? 'PRAGMA auto_vacuum = INCREMENTAL;' : ''
    db.exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = ${PAGE_BYTES}; ${vacuum} BEGIN EXCLUSIVE`)
    const isNew = this.#pragma('application_id') === 0 && this.#pragma('schema_version') === 0
    if (create && isNew) this.#createSchema()
    // A COMMIT, even of nothing, would make an empty file one page long.
    db.exec(isNew && !create ? 'ROLLBACK' : 'COMMIT')
  }

  #createSchema(): void {
    const { applicationId, schemaVersion, ddl } = this.#kind
    this.#db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion}; ${ddl}`)
  }

  #checkKind(): void {
    const { noun, applicationId, schemaVersion, unavailable: later, corrupt } = this.#kind
    if (this.#pragma('application_id') !== applicationId) {
      throw new IntegrityError(corrupt, `${this.file} is not a ${noun}`)
    }
    const version = this.#pragma('user_version')
    if (version !== schemaVersion) {
      const release = version > schemaVersion ? 'a later release' : 'an earlier release'
      const message = `${this.file} has ${noun} format ${version}, written by ${release}; this one reads format ${schemaVersion}`
      throw new AuditUnavailableError(later, message)
    }
  }

  /** As {@link use}; the commit inside waits for the disk, even where other commits do not. */
  durably<T>(what: string, work: () => T): T {
    const level = this.#pragma('synchronous')
    this.#db.exec('PRAGMA synchronous = FULL')
    try {
      return this.use(what, work)
    } finally {
      this.#db.exec(`PRAGMA synchronous = ${level}`)
    }
  }

  #pragma(name: string): number {
    return Number(this.#db.prepare(`PRAGMA ${name}`).get()?.[name])
  }

  /** Makes a complete database at a path in one step: another process sees none or all of it, and the first process wins. */
  static createShared(kind: StoreKind, file: string, initialise: (db: Database) => void): void {
    const draft = `${file}.creating-${randomUUID()}`
    makeDirectory(kind, dirname(file))
    createPrivateFile(kind, draft)
    try {
      const db = new Database(kind, draft, { access: 'exclusive', busyTimeoutMs: 0, fsync: true })
      initialise(db)
      db.close()
      linkSync(draft, file)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) {
        throw unavailable(kind, `create ${file}`, error)
      }
    } finally {
      for (const suffix of ['', '-wal', '-journal']) rmSync(draft + suffix, { force: true })
    }
  }

  /** A statement, compiled once, to be run inside {@link use}, {@link transaction} or {@link snapshot}. */
  prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#guard('read', () => this.#db.prepare(sql))
      this.#statements.set(sql, statement)
    }
    return statement
  }

  /** Runs statements; their errors say `doing` (`append to`, `read`, …). */
  use<Result>(doing: string, work: () => Result): Result {
    return this.#guard(doing, work)
  }

  /** Runs `work` as one transaction that takes the write lock first: it waits for other processes, but never fails halfway. */
  transaction<Result>(doing: string, work: () => Result): Result {
    this.#wroteSinceLook = true
    return this.#guard(doing, () => this.#between('BEGIN IMMEDIATE', work))
  }

  /** Runs reads that all see the file as it is at the first read. */
  snapshot<Result>(doing: string, work: () => Result): Result {
    return this.#guard(doing, () => this.#between('BEGIN', work))
  }

  #between<Result>(begin: string, work: () => Result): Result {
    this.#db.exec(begin)
    try {
      const result = work()
      this.#db.exec('COMMIT')
      return result
    } catch (error) {
      this.#rollBack()
      throw error
    }
  }

  /** Whether any connection, this one included, has written since the last call; true at the first call. */
  changed(): boolean {
    // SQLite counts only the commits of other connections. The version is looked up before the caller reads: a write between
    // the two is seen by that read and reported once more, never missed.
    const version = this.#guard('read', () => Number(this.prepare('PRAGMA data_version').get()?.['data_version']))
    const changed = this.#wroteSinceLook || version !== this.#seenVersion
    this.#wroteSinceLook = false
    this.#seenVersion = version
    return changed
  }

  #rollBack(): void {
    try {
      this.#db.exec('ROLLBACK')
    } catch {
      // A full disk or an I/O error has already rolled it back.
    }
  }

  /** Gives the space of deleted rows back to the disk. Rewrites the rest of the file: only for a nearly empty one. */
  shrink(): void {
    this.#guard('shrink', () => this.#db.exec('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)'))
  }

  /** Size of the database file in bytes, free pages included. */
  fileBytes(): number {
    return this.#guard('read', () => this.#pragma('page_count') * this.#pragma('page_size'))
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #guard<Result>(doing: string, work: () => Result): Result {
    try {
      return work()
    } catch (error) {
      throw this.#translate(doing, error)
    }
  }

  #translate(doing: string, error: unknown): unknown {
    if (error instanceof TrailError) return error
    const { noun, unavailable: later, corrupt } = this.#kind
    const code = sqliteCode(error)
    const message = `cannot ${doing} the ${noun} ${this.file}: ${reasonOf(error)}`
    if (code !== undefined && UNAVAILABLE.has(code)) return new AuditUnavailableError(later, message, { cause: error })
    // The remaining codes mean damage, a missing table or column, or a broken constraint: the file is no longer what was written.
    // Neither has this program written a number that no JavaScript number holds.
    if (code !== undefined || hasCode(error, 'ERR_OUT_OF_RANGE'))
      return new IntegrityError(corrupt, message, { cause: error })
    if (hasCode(error, 'ERR_INVALID_STATE'))
      return new AuditUnavailableError(later, `the ${noun} ${this.file} is closed`, { cause: error })
    return error
  }
}

/** Opens a file as a URL, so that SQLite does not create it: a missing file stays missing. */
function openExisting(file: string, readOnly: boolean): DatabaseSync {
  const url = pathToFileURL(file)
  url.searchParams.set('mode', readOnly ? 'ro' : 'rw')
  return new DatabaseSync(url, { readOnly })
}

function hasCode(error: unknown, code: string): boolean {
  return (error as { code?: unknown }).code === code
}
