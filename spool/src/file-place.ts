/**
 * Whether a file that SQLite has open still lies where it was opened. A file that was removed, renamed or replaced works on
 * through the open descriptor, and is gone with the process. Looks with stat: see database.ts on descriptors.
 */
import { type BigIntStats, statSync } from 'node:fs'

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
