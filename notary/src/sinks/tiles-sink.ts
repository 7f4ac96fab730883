/**
 * The log in the layout that other tools read (c2sp.org/tlog-tiles): a folder that any HTTP server can serve. Tiles come before the
 * checkpoint that needs them, each file by a rename, so that a reader never sees half of one. What it keeps is made from the
 * tables: a folder that was lost is written again.
 */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { TrailError } from '@agent-audit/schemas'
import {
  bundlesBetween,
  formatEntries,
  formatTile,
  type MerkleTree,
  parseCheckpoint,
  parseNote,
  tilePath,
  tilesBetween,
} from '@agent-audit/seals'
import type { SealTables, SignedCheckpoint } from '../seal-tables.ts'
import type { CheckpointSink } from './sink.ts'

const TILE_WIDTH = 256
const CHECKPOINT = 'checkpoint'

export interface TilesSinkOptions {
  readonly folder: string
  readonly tables: SealTables
  readonly tree: () => MerkleTree
}

export class TilesSink implements CheckpointSink {
  readonly name: string
  readonly #options: TilesSinkOptions
  /** What the folder has; undefined: not read yet. */
  #size: number | undefined

  constructor(options: TilesSinkOptions) {
    this.#options = options
    this.name = `tiles ${options.folder}`
  }

  async newest(): Promise<string[]> {
    const note = await this.#read()
    return note === undefined ? [] : [note]
  }

  async put({ note, size }: SignedCheckpoint): Promise<void> {
    const from = this.#size ?? (await this.#sizeOfFolder())
    const tree = this.#options.tree()
    for (const bundle of bundlesBetween(from, size)) {
      const first = bundle.index * TILE_WIDTH
      await this.#write(tilePath(bundle), formatEntries(await this.#options.tables.notes(first, first + bundle.width)))
    }
    for (const tile of tilesBetween(from, size)) {
      await this.#write(
        tilePath(tile),
        formatTile((level, index) => tree.subtree(level, index), tile),
      )
    }
    await this.#write(CHECKPOINT, Buffer.from(note))
    this.#size = size
  }

  async #write(path: string, bytes: Buffer): Promise<void> {
    const file = join(this.#options.folder, path)
    const unfinished = `${file}.${randomUUID()}.new`
    await mkdir(dirname(file), { recursive: true })
    await writeFile(unfinished, bytes, { flush: true })
    await rename(unfinished, file)
  }

  async #sizeOfFolder(): Promise<number> {
    const note = await this.#read()
    try {
      return note === undefined ? 0 : parseCheckpoint(parseNote(note).text).size
    } catch (error) {
      if (error instanceof TrailError) return 0
      throw error
    }
  }

  async #read(): Promise<string | undefined> {
    try {
      return await readFile(join(this.#options.folder, CHECKPOINT), 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }
}
