/**
 * The layout in which other tools read a log (c2sp.org/tlog-tiles): tiles of 256 hashes, and bundles of 256 entries. Tile level l
 * has the hashes of complete subtrees of 256^l leaves.
 */
import { invalid, quoted } from '../notes/lines.ts'
import { HASH_BYTES, nodeHash, type SubtreeHashes } from './hashes.ts'

export const TILE_WIDTH = 256
const TILE_HEIGHT = 8
const LENGTH_BYTES = 2
const MAX_ENTRY_BYTES = 65_535

/** A tile of hashes, or (`level: 'entries'`) a bundle of entries. */
export interface Tile {
  readonly level: number | 'entries'
  readonly index: number
  /** 1 to 256: a tile below 256 is partial. */
  readonly width: number
}

/** Below the prefix of the log, such as `tile/0/x001/x234/067` or `tile/entries/000.p/17`. */
export function tilePath({ level, index, width }: Tile): string {
  const digits = String(index)
  const padded = digits.padStart(3 * Math.ceil(digits.length / 3), '0')
  const elements = padded.match(/\d{3}/g) ?? []
  const name = elements.map((element, at) => (at < elements.length - 1 ? `x${element}` : element)).join('/')
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`
}

const PATH = /^tile\/(entries|[0-9]|[1-5][0-9]|6[0-3])\/((?:x[0-9]{3}\/)*[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/

/** @throws IntegrityError with code SEAL_INVALID */
export function parseTilePath(path: string): Tile {
  const [, level = '', name = '', partial] = PATH.exec(path) ?? []
  const tile: Tile = {
    level: level === 'entries' ? level : Number(level),
    index: Number(name.replaceAll(/[x/]/g, '')),
    width: partial === undefined ? TILE_WIDTH : Number(partial),
  }
  if (level !== '' && Number.isSafeInteger(tile.index) && tilePath(tile) === path) return tile
  throw invalid(`expected the path of a tile, such as "tile/0/x001/067.p/5", found ${quoted(path)}`)
}

/** Hashes of a tile level that a tree of this size has. */
function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_WIDTH ** level)
}

/** The tile with this index in a tree of this size. */
function tileAt(level: number, index: number, size: number): Tile {
  return { level, index, width: Math.min(TILE_WIDTH, hashesAt(level, size) - index * TILE_WIDTH) }
}

/** The tiles of hashes that a tree has new, or wider, once it has grown. From `from` 0: all of its tiles. */
export function tilesBetween(from: number, to: number): Tile[] {
  const tiles: Tile[] = []
  for (let level = 0; hashesAt(level, to) > 0; level += 1) {
    const [old, now] = [hashesAt(level, from), hashesAt(level, to)]
    if (old === now) continue
    for (let index = Math.floor(old / TILE_WIDTH); index * TILE_WIDTH < now; index += 1) {
      tiles.push(tileAt(level, index, to))
    }
  }
  return tiles
}

/** The bundles of entries of the same growth. */
export function bundlesBetween(from: number, to: number): Tile[] {
  return tilesBetween(from, to).flatMap((tile) => (tile.level === 0 ? [{ ...tile, level: 'entries' as const }] : []))
}

/** The bytes of a tile of hashes. */
export function formatTile(hashes: SubtreeHashes, { level, index, width }: Tile): Buffer {
  const height = TILE_HEIGHT * Number(level)
  return Buffer.concat(Array.from({ length: width }, (_, at) => hashes(height, index * TILE_WIDTH + at)))
}

/** The hashes of a tree of this size, out of its tiles. @param read - The bytes of a tile. */
export function hashesOfTiles(size: number, read: (tile: Tile) => Uint8Array): SubtreeHashes {
  return (level, index) => {
    const tileLevel = Math.floor(level / TILE_HEIGHT)
    const count = 2 ** (level - TILE_HEIGHT * tileLevel)
    const tile = tileAt(tileLevel, Math.floor((index * count) / TILE_WIDTH), size)
    const bytes = read(tile)
    if (bytes.length !== tile.width * HASH_BYTES) {
      const expected = `expected ${tile.width * HASH_BYTES} bytes`
      throw invalid(`${tilePath(tile)}: ${expected}, found ${bytes.length}`)
    }
    const first = (index * count) % TILE_WIDTH
    return foldedHash(Buffer.from(bytes.subarray(first * HASH_BYTES, (first + count) * HASH_BYTES)))
  }
}

/** The tiles that a proof or root reads, so that they can be fetched first. @param use - Calls the function for the proof. */
export function tilesRead(size: number, use: (hashes: SubtreeHashes) => unknown): Tile[] {
  const tiles = new Map<string, Tile>()
  const read = (tile: Tile): Uint8Array => {
    tiles.set(tilePath(tile), tile)
    return Buffer.alloc(tile.width * HASH_BYTES)
  }
  use(hashesOfTiles(size, read))
  return [...tiles.values()]
}

/** Root of a complete subtree: 1, 2, 4 … hashes. */
function foldedHash(hashes: Buffer): Buffer {
  if (hashes.length === HASH_BYTES) return hashes
  const middle = hashes.length / 2
  return nodeHash(foldedHash(hashes.subarray(0, middle)), foldedHash(hashes.subarray(middle)))
}

/** The bytes of a bundle: each entry behind its length in two bytes. */
export function formatEntries(entries: readonly Uint8Array[]): Buffer {
  const parts = entries.flatMap((entry) => {
    if (entry.length > MAX_ENTRY_BYTES)
      throw invalid(`entry bundle: expected at most ${MAX_ENTRY_BYTES} bytes an entry`)
    const length = Buffer.alloc(LENGTH_BYTES)
    length.writeUInt16BE(entry.length)
    return [length, entry]
  })
  return Buffer.concat(parts)
}

/** @throws IntegrityError with code SEAL_INVALID, unless the bytes are exactly `width` entries */
export function parseEntries(bytes: Uint8Array, width: number): Buffer[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const entries: Buffer[] = []
  let at = 0
  while (at < buffer.length) {
    const start = at + LENGTH_BYTES
    const end = start <= buffer.length ? start + buffer.readUInt16BE(at) : start
    if (end > buffer.length) throw invalid(`entry bundle: it ends in entry ${entries.length}`)
    entries.push(buffer.subarray(start, end))
    at = end
  }
  if (entries.length !== width) throw invalid(`entry bundle: expected ${width} entries, found ${entries.length}`)
  return entries
}
