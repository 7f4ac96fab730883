/** Reads a file of recorded sessions line by line, plain or gzip, however large. */
import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import { createGunzip, type Gunzip } from 'node:zlib'
import { InvalidInputError } from '@agent-audit/schemas'
import { readRecordedSession, type RecordedSession } from './chat-format.ts'

/** One session, and its line. */
export interface RecordingsEntry {
  /** `FILE line K`. */
  readonly where: string
  readonly session: RecordedSession
}

export interface RecordingsFile extends AsyncDisposable {
  /**
   * The sessions, in order. Lines before a bad one are yielded first, also where a gzip file was cut short.
   * @throws InvalidInputError `INPUT_UNREADABLE`: `FILE line K: …`.
   */
  entries(): AsyncGenerator<RecordingsEntry, void, void>
}

const GZIP_MAGIC = Buffer.of(0x1f, 0x8b)
const NEWLINE = 0x0a
const MAX_LINE_BYTES = 256 * 2 ** 20
const CHUNK_BYTES = 64 * 1024

/** Opens the file, so that a missing one is reported before any server starts. @throws InvalidInputError `INPUT_UNREADABLE`. */
export async function openRecordings(path: string): Promise<RecordingsFile> {
  let file: FileHandle | undefined
  try {
    file = await open(path)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(GZIP_MAGIC.length), 0, GZIP_MAGIC.length, 0)
    const gzip = bytesRead === GZIP_MAGIC.length && GZIP_MAGIC.equals(buffer)
    if (!gzip && path.endsWith('.gz')) throw new Error('not gzip, though its name ends in .gz')
    const opened = file
    return { entries: () => readEntries(opened, path, gzip), [Symbol.asyncDispose]: () => opened.close() }
  } catch (cause) {
    await file?.close()
    throw unreadable(`${path}: ${reasonOf(cause)}`, cause)
  }
}

async function* readEntries(file: FileHandle, path: string, gzip: boolean): AsyncGenerator<RecordingsEntry> {
  const lines = readLines(gzip ? gunzip(readChunks(file)) : readChunks(file))
  let sessions = 0
  for (let line = 1; ; line++) {
    const where = `${path} line ${line}`
    const next = await atLine(where, () => lines.next())
    if (next.done === true) break
    if (next.value.trim() === '') continue
    const session = await atLine(where, () => readRecordedSession(next.value))
    sessions++
    yield { where, session }
  }
  if (sessions === 0) throw unreadable(`${path} line 1: expected a recorded session, the file is empty`)
}

async function atLine<T>(where: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw unreadable(`${where}: ${reasonOf(cause)}`, cause)
  }
}

async function* readChunks(file: FileHandle): AsyncGenerator<Buffer> {
  for (let position = 0; ;) {
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, position)
    if (bytesRead === 0) return
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

/**
 * Decompresses each chunk to its end before it passes the next one: so a file that was cut short yields everything it holds
 * before its error. (A failing stream that is piped or iterated drops the output that was not read yet.)
 */
async function* gunzip(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const stream = createGunzip()
  const ready: Buffer[] = []
  stream.on('data', (chunk: Buffer) => ready.push(chunk))
  try {
    for await (const chunk of source) {
      const failure = await settle(write(stream, chunk))
      yield* ready.splice(0)
      if (failure !== undefined) throw failure
    }
    const ended = settle(once(stream, 'end'))
    stream.end()
    const failure = await ended
    yield* ready.splice(0)
    if (failure !== undefined) throw failure
  } finally {
    stream.destroy()
  }
}

function write(stream: Gunzip, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('error', reject)
    stream.write(chunk, (error) => {
      stream.off('error', reject)
      if (error === null || error === undefined) resolve()
      else reject(error)
    })
  })
}

async function settle(work: Promise<unknown>): Promise<Error | undefined> {
  try {
    await work
    return undefined
  } catch (error) {
    return error as Error
  }
}

async function* readLines(source: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let parts: Buffer[] = []
  let size = 0
  const take = (): string => {
    const line = decoder.decode(Buffer.concat(parts))
    parts = []
    size = 0
    return line
  }
  for await (const chunk of source) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      parts.push(chunk.subarray(start, end))
      start = end + 1
      yield take()
    }
    parts.push(chunk.subarray(start))
    size += chunk.length - start
    if (size > MAX_LINE_BYTES) throw new Error(`longer than ${MAX_LINE_BYTES / 2 ** 20} MiB`)
  }
  if (parts.some((part) => part.length > 0)) yield take()
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  Z_BUF_ERROR: 'the gzip data ends here: the file was cut short',
  Z_DATA_ERROR: 'the gzip data is damaged',
  ERR_ENCODING_INVALID_ENCODED_DATA: 'not JSON: not even UTF-8 text',
}

function reasonOf(cause: unknown): string {
  const { code = '', message } = cause as Error & { code?: string }
  return REASONS[code] ?? message
}

function unreadable(message: string, cause?: unknown): InvalidInputError {
  return new InvalidInputError('INPUT_UNREADABLE', message, { cause })
}
