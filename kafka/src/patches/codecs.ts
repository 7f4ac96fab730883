/** kafkajs compresses and decompresses gzip alone: this gives it zstd, from `node:zlib`. */
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import type { CompressionCodecs, CompressionTypes } from 'kafkajs'

const ZSTD_LEVEL = 1
/** Text compresses to about a quarter. The result should come in one chunk, as with decompression. */
const LEAST_COMPRESS_CHUNK_BYTES = 1024
/**
 * Upper bound for the content of a frame whose header has no content size: a multiple of the frame, within bounds. Node's
 * default chunk is 16 KiB: dozens of chunks a batch, each with a callback, and all of them garbage once they are joined.
 */
const GUESS = { factor: 256, leastBytes: 64 * 1024, mostBytes: 4 * 2 ** 20 }
/** A content size above it is not trusted. */
const MAX_CHUNK_BYTES = 32 * 2 ** 20

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

/** The parts of kafkajs that a codec is registered with. */
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
 * A chunk size that the whole content fits into, with one byte to spare: zlib would make another chunk to see whether the
 * content has ended. A frame's header may hold the content size (RFC 8878, section 3.1.1.1).
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
