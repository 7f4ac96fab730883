/** The files of an export: their names, and what is in them. */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet'
import type { FileDigest } from './whole-file.ts'

/** Folder of the events, which holds nothing but Parquet: DuckDB and polars read all of it. */
export const EVENTS = 'events'
/** Files that are being written. Not below {@link EVENTS}; removed at the next start. */
const UNFINISHED = '.unfinished'
/** A folder's name may have 255 bytes in most file systems; `agent=` and the mark of a cut are the rest. */
const MAX_NAME_BYTES = 240
const PLAIN = /^[A-Za-z0-9_.-]$/
/** What Hive, DuckDB and polars read as a missing value. */
const NO_NAME = '__HIVE_DEFAULT_PARTITION__'

/**
 * `events/day=2026-11-24/agent=support/1-3fa9….parquet`. An agent's name is recorded text: all but letters, digits, `_`, `.` and
 * `-` is percent-encoded, as Hive does, and a long name is cut. The file's own name has a hash of the agent's name, so that
 * two agents never have the same file: names that are cut, and file systems that do not tell `A` from `a`.
 */
export function pathOf({ day, agent, round }: { day: string; agent: string; round: number }): string {
  const hash = createHash('sha256').update(agent).digest('hex').slice(0, 16)
  return `${EVENTS}/day=${day}/agent=${encodeName(agent)}/${round}-${hash}.parquet`
}

function encodeName(name: string): string {
  let encoded = ''
  for (const character of name) {
    const next = PLAIN.test(character) ? character : percentEncoded(character)
    // Between characters: half of one could not be decoded.
    if (encoded.length + next.length > MAX_NAME_BYTES) return `${encoded}~`
    encoded += next
  }
  return encoded === '' ? NO_NAME : encoded
}

function percentEncoded(character: string): string {
  return Buffer.from(character)
    .toString('hex')
    .replaceAll(/../g, (byte) => `%${byte.toUpperCase()}`)
}

/** Undefined: there is no such file. */
export async function digestOf(path: string): Promise<FileDigest | undefined> {
  const hash = createHash('sha256')
  let bytes = 0
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      hash.update(chunk)
      bytes += chunk.length
    }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** Where a file of the export grows until it is whole. */
export function unfinishedIn(directory: string): string {
  return join(directory, UNFINISHED, randomUUID())
}

/** Removes what a killed run has left unfinished. */
export async function removeUnfinished(directory: string): Promise<void> {
  await rm(join(directory, UNFINISHED), { recursive: true, force: true })
}

/** The Parquet files below {@link EVENTS}, as paths below the folder. */
export async function listParquet(directory: string): Promise<string[]> {
  const found = await readdir(join(directory, EVENTS), { recursive: true }).catch(() => [])
  return found.filter((path) => path.endsWith('.parquet')).map((path) => `${EVENTS}/${path.replaceAll(sep, '/')}`)
}

/** The number of rows, from the footer. NaN: the file is no whole Parquet file. */
export async function rowsOf(path: string): Promise<number> {
  try {
    return Number((await parquetMetadataAsync(await asyncBufferFromFile(path), { geoparquet: false })).num_rows)
  } catch {
    return Number.NaN
  }
}
