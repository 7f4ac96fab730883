/**
 * An append-only file: a line for each checkpoint (`checkpointLine`), synced before it counts. Let it belong to another user, with the
 * right to append alone (`chattr +a`): then the notary's user cannot take back what it signed. The notary only ever appends. A line
 * that a crash has torn stays as it is: the next append ends it first, and readers leave it out, since it is no whole checkpoint.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { InvalidInputError } from '@agent-audit/schemas'
import { checkpointLine, readCheckpointLine } from '@agent-audit/seals'
import type { SignedCheckpoint } from '../seal-tables.ts'
import type { CheckpointSink } from './sink.ts'

/** Checkpoints that {@link FileSink.newest} gives: a line that no known key has signed hides none below it. */
const KEPT = 16

export interface FileSinkOptions {
  readonly path: string
  /** Told of lines that are no checkpoint, when the file is read: their number, and the first one's, from 1. */
  readonly onTorn?: (lines: number, first: number) => void
}

export class FileSink implements CheckpointSink {
  readonly name: string
  readonly #options: FileSinkOptions
  #file: FileHandle | undefined

  constructor(options: FileSinkOptions) {
    this.#options = options
    this.name = `file ${options.path}`
  }

  /** Reads the whole file: an attacker who can append could put an old checkpoint behind the newest one. */
  async newest(): Promise<string[]> {
    // Made if it is missing, and refused if it is no file.
    await this.#open()
    const reader = await open(this.#options.path, constants.O_RDONLY)
    const largest: { note: string; size: number }[] = []
    let [line, torn, firstTorn] = [0, 0, 0]
    const input = reader.createReadStream({ encoding: 'utf8' })
    for await (const text of createInterface({ input, crlfDelay: 0 })) {
      line += 1
      const read = readCheckpointLine(text)
      if (read === undefined) {
        torn += 1
        firstTorn ||= line
        continue
      }
      const at = largest.findIndex(({ size }) => size <= read.size)
      if (at === -1 && largest.length >= KEPT) continue
      largest.splice(at === -1 ? largest.length : at, 0, read)
      largest.length = Math.min(largest.length, KEPT)
    }
    if (torn > 0) this.#options.onTorn?.(torn, firstTorn)
    return largest.map(({ note }) => note)
  }

  async put({ note }: SignedCheckpoint): Promise<void> {
    const file = await this.#open()
    const line = Buffer.from((await endsInLine(file)) ? checkpointLine(note) : `\n${checkpointLine(note)}`)
    const { bytesWritten } = await file.write(line)
    if (bytesWritten < line.length) throw new Error(`${this.name}: wrote ${bytesWritten} of ${line.length} bytes`)
    await file.datasync()
  }

  async close(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
  }

  async #open(): Promise<FileHandle> {
    if (this.#file !== undefined) return this.#file
    // Reading too: a sink that cannot be read shows no rollback.
    const file = await open(this.#options.path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, 0o644)
    if (!(await file.stat()).isFile()) {
      await file.close()
      throw new InvalidInputError('OPTIONS_INVALID', `${this.name}: expected a regular file`)
    }
    return (this.#file = file)
  }
}

async function endsInLine(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat()
  if (size === 0) return true
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  return buffer[0] === 0x0a
}
