/** Names, format and setting aside of a spool's file. */
import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { unavailable } from './database.ts'
import type { Database, StoreKind } from './database.ts'

export const SPOOL: StoreKind = {
  noun: 'spool',
  applicationId: 0x61_61_73_70,
  schemaVersion: 1,
  unavailable: 'SPOOL_UNAVAILABLE',
  corrupt: 'SPOOL_CORRUPT',
  // The sizes stand before the blobs: summing them up reads the first page of a row only.
  ddl: `
    CREATE TABLE run (run_id TEXT NOT NULL, created_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE chunk (
      id INTEGER PRIMARY KEY, appended_ms INTEGER NOT NULL, first_seq INTEGER NOT NULL, records INTEGER NOT NULL,
      size INTEGER NOT NULL, checksum INTEGER NOT NULL, layout BLOB NOT NULL, bytes BLOB NOT NULL
    ) STRICT;`,
}

/** A run_id as it stands in the name of a file. */
export const RUN_ID: RegExp = /^[0-9a-f]{32}$/
const SPOOL_NAME = /^run-([0-9a-f]{32})\.spool$/

/** Path of a run's spool. */
export function spoolFile(directory: string, runId: string): string {
  return join(directory, `run-${runId}.spool`)
}

/** The run_id in a spool's name, or undefined when the name is not one of a spool. */
export function runIdOf(name: string): string | undefined {
  return SPOOL_NAME.exec(name)?.[1]
}

/**
 * Renames a damaged file and its write-ahead log, so that SQLite would still find the two together, and closes it.
 * @returns The new path; undefined when somebody else has taken it away in the meantime.
 */
export function setAside(file: string, db?: Database): string | undefined {
  const aside = `${file}.damaged-${new Date().toISOString().replaceAll(/[-:]/g, '')}`
  try {
    // Renamed before closing: SQLite then neither writes into the file nor deletes its write-ahead log.
    if (!existsSync(file)) return undefined
    renameSync(file, aside)
    if (existsSync(`${file}-wal`)) renameSync(`${file}-wal`, `${aside}-wal`)
    return aside
  } catch (error) {
    throw unavailable(SPOOL, `set aside ${file}`, error)
  } finally {
    db?.close()
  }
}
