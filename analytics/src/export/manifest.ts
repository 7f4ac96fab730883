/** The manifest of an export: what the folder holds, and up to which position of the log. Written last. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Cursor } from '../queries/changes.ts'
import { pathOf } from './folder.ts'

export const MANIFEST = 'manifest.json'
const FORMAT = 'agent-audit-export'
const VERSION = 1

/** What an export is of. A folder holds one range. */
export interface ExportRange {
  /** ISO 8601 in UTC. */
  readonly since: string
  /** Null: open, so that each update adds what is new. */
  readonly until: string | null
  /** The time of `since`, `until` and `day`: when the event happened, or when the log appended it. */
  readonly clock: 'event_time' | 'log_time'
  /** Null: all agents. */
  readonly agent: string | null
}

/** Offsets of one partition, from `from` on and before `to`. */
export interface Stretch {
  readonly log_id: string
  readonly partition: number
  readonly from: number
  readonly to: number
}

/** One run that added events: the first, or an update. The events of the range in its stretches are in its files. */
export interface Round {
  /** 1 for the first. */
  readonly round: number
  readonly taken_at: string
  readonly stretches: readonly Stretch[]
  /** Ends at a gap with rows above it: the next update goes on there. */
  readonly held: Cursor
  /** Forged rows of the whole trail that no query sees (docs/runbooks/forged-rows.md). */
  readonly quarantined_rows: number
}

type Position = Cursor[number]

/** The events of one agent and day that one round added. */
export interface PlannedFile {
  /** `2026-11-24`, by the range's clock, UTC. */
  readonly day: string
  readonly agent: string
  readonly round: number
  readonly rows: number
  /** Of its events, in the order of (log_id, partition, offset), which is the order of the file. */
  readonly first: Position
  readonly last: Position
}

export interface ExportedFile extends PlannedFile {
  /** Below the folder, with `/`. */
  readonly path: string
  readonly bytes: number
  /** 64 hex digits. */
  readonly sha256: string
}

export interface ExportColumn {
  readonly name: string
  /** As ClickHouse names it. */
  readonly type: string
}

export interface Manifest {
  readonly format: typeof FORMAT
  readonly version: typeof VERSION
  readonly written_at: string
  readonly writer: {
    /** Of ClickHouse, which writes the Parquet. */
    readonly clickhouse: string
    /** CRC-64-AVRO of the newest record schema that the writer knows, 16 hex digits; each row has that of its record. */
    readonly record_schema: string
  }
  readonly range: ExportRange
  /** Each event of the range below these positions is in a file, once. Later ones: the next update, however old they are. */
  readonly complete_to: Cursor
  readonly rounds: readonly Round[]
  readonly tables: {
    readonly events: {
      readonly rows: number
      readonly bytes: number
      readonly columns: readonly ExportColumn[]
      readonly files: readonly ExportedFile[]
    }
  }
}

/** Puts a manifest together. */
export function makeManifest(
  parts: Pick<Manifest, 'writer' | 'range' | 'rounds'> & {
    readonly columns: readonly ExportColumn[]
    readonly files: readonly ExportedFile[]
  },
): Manifest {
  const { writer, range, rounds, columns, files } = parts
  const sum = (name: 'rows' | 'bytes'): number => files.reduce((total, file) => total + file[name], 0)
  const ordered = files.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  return {
    format: FORMAT,
    version: VERSION,
    written_at: new Date().toISOString(),
    writer,
    range,
    complete_to: completeTo(rounds),
    rounds,
    tables: { events: { rows: sum('rows'), bytes: sum('bytes'), columns, files: ordered } },
  }
}

/** Up to where the rounds have read. */
export function completeTo(rounds: readonly Round[]): Cursor {
  const ends = new Map<string, Position>()
  for (const { log_id, partition, to } of rounds.flatMap(({ stretches }) => stretches))
    ends.set(`${log_id}/${partition}`, { log_id, partition, offset: to })
  return [...ends.values()]
}

/**
 * The manifest of a folder; undefined if it has none.
 * @throws InvalidInputError `INPUT_UNREADABLE` if it is none of this version, or names a file that is not of an export.
 */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  const path = join(directory, MANIFEST)
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  const manifest = parse(text)
  if (manifest === undefined) {
    const message = `${path} is no manifest of an export in version ${VERSION}: move it away, or export into another folder`
    throw new InvalidInputError('INPUT_UNREADABLE', message)
  }
  return manifest
}

/** A manifest may have been edited: only paths that an export makes are ever read or written. */
function parse(text: string): Manifest | undefined {
  try {
    const manifest = JSON.parse(text) as Manifest
    const { format, version, rounds, tables, range } = manifest
    if (format !== FORMAT || version !== VERSION || typeof range.since !== 'string') return undefined
    const known = new Set(rounds.map(({ round }) => round))
    const valid = tables.events.files.every((file) => known.has(file.round) && file.path === pathOf(file))
    return valid ? manifest : undefined
  } catch {
    return undefined
  }
}
