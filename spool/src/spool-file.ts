/** Names, format, place and setting aside of a spool's file. */
import { randomBytes } from 'node:crypto'
import { type BigIntStats, existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { InvalidInputError } from '@agent-audit/schemas'
import { unavailable } from './database.ts'
import type { Database, StoreKind } from './database.ts'

export const SPOOL: StoreKind = {
  noun: 'spool',
  applicationId: 0x61_61_73_70,
  schemaVersion: 5,
  unavailable: 'SPOOL_UNAVAILABLE',
  corrupt: 'SPOOL_CORRUPT',
  stepwiseShrink: false,
  // run.partitions: for chunks stored before the number was known. Both it and run.cluster are null while nothing is known.
  // The size column comes before the blobs: a sum over it reads only the first page of each row.
  // chunk.leaves: of a run that is sealed, see seal-table.ts.
  ddl: `
    CREATE TABLE run (
      run_id TEXT NOT NULL, topic TEXT NOT NULL, created_ms INTEGER NOT NULL, partitions INTEGER,
      cluster TEXT
    ) STRICT;
    CREATE TABLE chunk (
      id INTEGER PRIMARY KEY, appended_ms INTEGER NOT NULL, first_seq INTEGER NOT NULL, records INTEGER NOT NULL,
      size INTEGER NOT NULL, checksum INTEGER NOT NULL, layout BLOB NOT NULL, bytes BLOB NOT NULL, leaves BLOB
    ) STRICT;`,
}

/** Kafka's rule for topic names, which also makes them safe as file names. */
const TOPIC_NAME = /^[\w.-]{1,249}$/

/** @throws InvalidInputError `OPTIONS_INVALID` when it is no topic name. */
export function checkTopic(topic: string): void {
  if (TOPIC_NAME.test(topic)) return
  throw new InvalidInputError('OPTIONS_INVALID', `topic: expected 1 to 249 of a-z A-Z 0-9 . _ -, not "${topic}"`)
}

/** A run_id as file names contain it. */
export const RUN_ID: RegExp = /^[0-9a-f]{32}$/
const SPOOL_NAME = /^run-([0-9a-f]{32})(?:-[0-9a-f]{8})?\.spool$/
const SET_ASIDE_NAME = /^run-([0-9a-f]{32})(?:-[0-9a-f]{8})?\.spool\.(?:damaged|undelivered)-\w+\.\w+$/

/**
 * A path for a spool of a run, different at each call. A name used twice would mix up two files: an adopter that removes
 * the old file removes its write-ahead log by name, and that could then be the log of the new file.
 */
export function newSpoolFile(directory: string, runId: string): string {
  return join(directory, `run-${runId}-${randomBytes(4).toString('hex')}.spool`)
}

/** The run_id in a spool's name, or undefined when the name is not that of a spool. */
export function runIdOf(name: string): string | undefined {
  return SPOOL_NAME.exec(name)?.[1]
}

/** The run_id in the name of a file that was set aside: a damaged spool, or records that the broker does not take. */
export function setAsideRunIdOf(name: string): string | undefined {
  return SET_ASIDE_NAME.exec(name)?.[1]
}

/** A path for records that the broker does not take: a spool under a name that no adopter opens. */
export function newUndeliveredFile(directory: string, runId: string): string {
  return `${newSpoolFile(directory, runId)}.undelivered-${timeInName()}`
}

function timeInName(): string {
  return new Date().toISOString().replaceAll(/[-:]/g, '')
}

/**
 * Disk space kept beside a spool. `binding`: while its records have no partitions and no cluster. `sealing`: of a run that is
 * sealed; a seal writes some ten pages of 8 KiB.
 */
const RESERVES = {
  binding: { suffix: '-reserve', bytes: 64 * 1024 },
  sealing: { suffix: '-seal-reserve', bytes: 128 * 1024 },
} as const
type ReserveUse = 'binding' | 'sealing'

/**
 * Reserves disk space: for the commit of the cluster and the number of partitions, or for seals. On a full disk that commit would
 * fail otherwise: no record could be sent, or no seal made, so no space would ever be freed.
 */
export function takeReserve(file: string, use: ReserveUse): void {
  const { suffix, bytes } = RESERVES[use]
  try {
    if (statSync(file + suffix, { throwIfNoEntry: false })?.size === bytes) return
    writeFileSync(file + suffix, new Uint8Array(bytes), { mode: 0o600 })
  } catch (error) {
    // Half of it would only take the space away.
    freeReserve(file, use)
    throw unavailable(SPOOL, `write ${file}${suffix}`, error)
  }
}

export function freeReserve(file: string, use: ReserveUse): void {
  rmSync(file + RESERVES[use].suffix, { force: true })
}

/**
 * Renames a damaged file and its write-ahead log, so that SQLite still finds the two together, and closes it.
 * @param db - The file, locked.
 * @param log - The current path of its write-ahead log.
 * @returns The new path; undefined when another process has removed the file in the meantime.
 */
export function setAside(file: string, db: Database | undefined, log = `${file}-wal`): string | undefined {
  const aside = `${file}.damaged-${timeInName()}`
  try {
    // Renamed before closing: SQLite then neither writes into the file nor deletes its write-ahead log.
    if (!existsSync(file)) return undefined
    renameSync(file, aside)
    if (existsSync(log)) renameSync(log, `${aside}-wal`)
    for (const use of ['binding', 'sealing'] as const) freeReserve(file, use)
    return aside
  } catch (error) {
    throw unavailable(SPOOL, `set aside ${file}`, error)
  } finally {
    db?.close()
  }
}

/**
 * Removes an empty spool while its lock is still held: once unlocked, another process could own the file. The file is
 * removed first: a write-ahead log alone is litter, but a file that has lost its log would look damaged.
 */
export function removeSpool(file: string): void {
  try {
    const beside = Object.values(RESERVES).map(({ suffix }) => suffix)
    for (const suffix of ['', '-wal', '-journal', ...beside]) rmSync(file + suffix, { force: true })
  } catch (error) {
    throw unavailable(SPOOL, `remove ${file}`, error)
  }
}

/** File names in a directory of spools; none when it does not exist. */
export function listNames(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw unavailable(SPOOL, `list ${directory}`, error)
  }
}

/**
 * Whether a file that SQLite has open still lies where it was opened. A file that was removed, renamed or replaced works on
 * through the open descriptor, and is gone with the process. Looks with stat: see database.ts on descriptors.
 */
export class FilePlace {
  readonly #file: string
  readonly #main: BigIntStats | undefined
  readonly #log: BigIntStats | undefined

  /** @param file - Open, locked, and written to: it has its write-ahead log. */
  constructor(file: string) {
    this.#file = file
    this.#main = look(file)
    this.#log = look(`${file}-wal`)
  }

  /** Whether the file's name still leads to the file. */
  get hasName(): boolean {
    return this.#main !== undefined && isSame(this.#main, look(this.#file))
  }

  /** Whether the names of both the file and its log do. */
  get isWhole(): boolean {
    return this.hasName && (this.#log === undefined || isSame(this.#log, look(`${this.#file}-wal`)))
  }
}

/** Undefined when there is no such file, or none that can be reached. */
function look(file: string): BigIntStats | undefined {
  try {
    return statSync(file, { bigint: true, throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

/** An inode is not given to another file while a descriptor holds it. */
function isSame({ dev, ino }: BigIntStats, now: BigIntStats | undefined): boolean {
  return now !== undefined && now.ino === ino && now.dev === dev
}
