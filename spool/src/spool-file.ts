/** Names, format and setting aside of a spool's file. */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { unavailable } from './database.ts'
import type { Database, StoreKind } from './database.ts'

export const SPOOL: StoreKind = {
  noun: 'spool',
  applicationId: 0x61_61_73_70,
  schemaVersion: 2,
  unavailable: 'SPOOL_UNAVAILABLE',
  corrupt: 'SPOOL_CORRUPT',
  // run.partitions: for chunks that came before the number was known; null as long as it is not. Version 1 had none.
  // The sizes stand before the blobs: summing them up reads the first page of a row only.
  ddl: `
    CREATE TABLE run (run_id TEXT NOT NULL, created_ms INTEGER NOT NULL, partitions INTEGER) STRICT;
    CREATE TABLE chunk (
      id INTEGER PRIMARY KEY, appended_ms INTEGER NOT NULL, first_seq INTEGER NOT NULL, records INTEGER NOT NULL,
      size INTEGER NOT NULL, checksum INTEGER NOT NULL, layout BLOB NOT NULL, bytes BLOB NOT NULL
    ) STRICT;`,
}

/** A run_id as it stands in the name of a file. */
export const RUN_ID: RegExp = /^[0-9a-f]{32}$/
const SPOOL_NAME = /^run-([0-9a-f]{32})(?:-[0-9a-f]{8})?\.spool$/
const DAMAGED_NAME = /^run-([0-9a-f]{32})(?:-[0-9a-f]{8})?\.spool\.damaged-\w+\.\w+$/

/**
 * A path for a spool of a run, another one at each call. A name that came again would mix up two files: an adopter that
 * removes the old file takes its write-ahead log away by name, and that could then be the new one's.
 */
export function newSpoolFile(directory: string, runId: string): string {
  return join(directory, `run-${runId}-${randomBytes(4).toString('hex')}.spool`)
}

/** The run_id in a spool's name, or undefined when the name is not one of a spool. */
export function runIdOf(name: string): string | undefined {
  return SPOOL_NAME.exec(name)?.[1]
}

/** The run_id in the name of a file that was set aside. */
export function damagedRunIdOf(name: string): string | undefined {
  return DAMAGED_NAME.exec(name)?.[1]
}

/** Beside a spool whose records have no partitions yet. */
const RESERVE = '-reserve'
const RESERVE_BYTES = 64 * 1024

/** Takes room on the disk for the commit without which nothing could be sent, nor the disk be relieved. */
export function takeReserve(file: string): void {
  try {
    writeFileSync(file + RESERVE, new Uint8Array(RESERVE_BYTES), { mode: 0o600 })
  } catch (error) {
    throw unavailable(SPOOL, `write ${file}${RESERVE}`, error)
  }
}

export function freeReserve(file: string): void {
  rmSync(file + RESERVE, { force: true })
}

/**
 * Renames a damaged file and its write-ahead log, so that SQLite would still find the two together, and closes it.
 * @param db - The file, locked.
 * @param log - Where its write-ahead log is now.
 * @returns The new path; undefined when somebody else has taken it away in the meantime.
 */
export function setAside(file: string, db: Database | undefined, log = `${file}-wal`): string | undefined {
  const aside = `${file}.damaged-${new Date().toISOString().replaceAll(/[-:]/g, '')}`
  try {
    // Renamed before closing: SQLite then neither writes into the file nor deletes its write-ahead log.
    if (!existsSync(file)) return undefined
    renameSync(file, aside)
    if (existsSync(log)) renameSync(log, `${aside}-wal`)
    freeReserve(file)
    return aside
  } catch (error) {
    throw unavailable(SPOOL, `set aside ${file}`, error)
  } finally {
    db?.close()
  }
}

/**
 * Removes an empty spool, while its lock is still held: after letting go, the file could be another one's. The file goes
 * first: a write-ahead log alone is litter, but a file that has lost its log would look damaged.
 */
export function removeSpool(file: string): void {
  try {
    for (const suffix of ['', '-wal', '-journal', RESERVE]) rmSync(file + suffix, { force: true })
  } catch (error) {
    throw unavailable(SPOOL, `remove ${file}`, error)
  }
}

/** Names in a directory of spools; none when it does not exist. */
export function listNames(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw unavailable(SPOOL, `list ${directory}`, error)
  }
}
