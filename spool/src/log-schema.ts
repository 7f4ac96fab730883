/** Format of the embedded log's file, and a check that its parts share. */
import { InvalidInputError } from '@agent-audit/schemas'
import type { StoreKind } from './database.ts'

export const EMBEDDED_LOG: StoreKind = {
  noun: 'embedded log',
  applicationId: 0x61_61_6c_67,
  schemaVersion: 1,
  unavailable: 'LOG_UNAVAILABLE',
  corrupt: 'LOG_INVALID',
  stepwiseShrink: true,
  // The bounds of a partition are stored, not derived: a partition whose records were all deleted still has its end.
  ddl: `
    CREATE TABLE log (id TEXT NOT NULL, created_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE topic (topic TEXT PRIMARY KEY, partitions INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE partition (
      id INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
      start_offset INTEGER NOT NULL DEFAULT 0, end_offset INTEGER NOT NULL DEFAULT 0,
      last_append_ms INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, partition)
    ) STRICT;
    CREATE TABLE batch (
      id INTEGER PRIMARY KEY, partition_id INTEGER NOT NULL, base_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL,
      append_ms INTEGER NOT NULL, checksum INTEGER NOT NULL, layout BLOB NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX batch_by_offset ON batch (partition_id, next_offset);
    CREATE TABLE group_member (
      group_name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, member TEXT, heartbeat_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE committed (
      group_name TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
      commit_offset INTEGER NOT NULL, metadata TEXT NOT NULL, PRIMARY KEY (group_name, topic, partition)
    ) STRICT, WITHOUT ROWID;`,
}

/** @throws InvalidInputError `OPTIONS_INVALID` unless it is a whole number from `least` on. */
export function checkWhole(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return
  throw new InvalidInputError('OPTIONS_INVALID', `${name}: expected a whole number from ${least}, not ${value}`)
}
