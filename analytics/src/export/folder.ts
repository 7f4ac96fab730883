/** The files of an export: their names, and how they appear whole. */
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet'

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

/** What a file is. */
export interface FileDigest {
  readonly bytes: number
  readonly sha256: string
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

/**
 * Writes a file that is there whole or not at all, also after loss of power: the data is on the disk before the name is, and
 * the name before this returns.
 * @param accept - Looks at the finished file before it gets its name; false: it gets none.
 */
export async function writeWhole(
  directory: string,
  path: string,
  {
    content,
    accept = () => true,
  }: {
    readonly content: AsyncIterable<Buffer> | Iterable<Buffer>
    readonly accept?: (unfinished: string) => Promise<boolean> | boolean
  },
): Promise<FileDigest | undefined> {
  const unfinished = join(directory, UNFINISHED, randomUUID())
  await mkdir(dirname(unfinished), { recursive: true })
  try {
    const digest = await writeSynced(unfinished, content)
    if (!(await accept(unfinished))) return undefined
    const target = join(directory, path)
    const made = await mkdir(dirname(target), { recursive: true })
    await rename(unfinished, target)
    await syncUpwards(dirname(target), made === undefined ? dirname(target) : dirname(made))
    return digest
  } finally {
    await rm(unfinished, { force: true })
  }
}

async function writeSynced(path: string, content: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<FileDigest> {
  const hash = createHash('sha256')
  let bytes = 0
  const file = await open(path, 'wx')
  try {
    for await (const chunk of content) {
      hash.update(chunk)
      bytes += chunk.length
      await file.writeFile(chunk)
    }
    await file.sync()
  } finally {
    await file.close()
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** A name is on the disk once its folder is: the new folders, and the one that they are in. */
async function syncUpwards(from: string, to: string): Promise<void> {
  for (let path = from; ; path = dirname(path)) {
    const folder = await open(path)
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
    if (path === to || path === dirname(path)) return
  }
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
