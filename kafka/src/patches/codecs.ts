/** kafkajs compresses and decompresses gzip alone: this gives it zstd, from `node:zlib`. */
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import type { CompressionCodecs, CompressionTypes } from 'kafkajs'

const ZSTD_LEVEL = 1
/** Text packs to about a quarter: as with unpacking, it should come in one piece. */
const LEAST_COMPRESS_CHUNK_BYTES = 1024
/**
 * What a frame that does not tell its size is taken to unpack to at most: so many times its own, within bounds. Node's default
 * is pieces of 16 KiB, dozens a batch, each with its own call back; and what is put together from pieces leaves them as garbage.
 */
const GUESS = { factor: 256, leastBytes: 64 * 1024, mostBytes: 4 * 2 ** 20 }
/** Above it a frame's word for its size is not believed. */
const MAX_CHUNK_BYTES = 32 * 2 ** 20

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

/** The parts of kafkajs that take a codec of ours. */
interface Compression {
  readonly CompressionCodecs: typeof CompressionCodecs
  readonly CompressionTypes: typeof CompressionTypes
}

/** Gives kafkajs zstd. */
export function registerZstd({ CompressionCodecs: codecs, CompressionTypes: types }: Compression): void {
  codecs[types.ZSTD] = () => ({
    compress: ({ buffer }: { buffer: Buffer }) =>
      compress(buffer, {
        params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
        chunkSize: Math.max(LEAST_COMPRESS_CHUNK_BYTES, buffer.length >> 2),
      }),
    decompress: (bytes: Buffer) => decompress(bytes, { chunkSize: chunkSizeFor(bytes) }),
  })
}

/**
 * A size that a whole frame fits into, so that it comes in one piece: one byte more, or zlib would make another to see
 * whether it has ended. The frame's header may tell its content's size (RFC 8878, section 3.1.1.1).
 */
function chunkSizeFor(frame: Buffer): number {
  const descriptor = frame.length < 18 ? 0 : frame.readUInt8(4)
  const singleSegment = (descriptor & 0x20) !== 0
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 0x03] ?? 0
  const guess = Math.min(GUESS.mostBytes, Math.max(GUESS.leastBytes, GUESS.factor * frame.length))
  const at = 5 + (singleSegment ? 0 : 1) + dictionaryBytes
  const sizes = [
    () => (singleSegment ? frame.readUInt8(at) : guess),
    () => frame.readUInt16LE(at) + 256,
    () => frame.readUInt32LE(at),
    () => Number(frame.readBigUInt64LE(at)),
  ]
  const bytes = sizes[descriptor >> 6]?.() ?? guess
  return bytes > MAX_CHUNK_BYTES ? guess : Math.max(64, bytes + 1)
}
