/**
 * The codecs of record batches. kafkajs compresses and decompresses gzip alone: `registerZstd` gives it zstd, from `node:zlib`.
 * The consumer unpacks the batches of all four codecs with {@link unpackContent}. Node has no snappy and no LZ4: the caller
 * passes their decoders, so that a producer, which needs neither, does not install them.
 */
import { promisify } from 'node:util'
import { constants, gunzip, zstdCompress, zstdDecompress, zstdDecompressSync } from 'node:zlib'
import type { CompressionCodecs, CompressionTypes } from 'kafkajs'
import type { BatchDecoders } from '../source.ts'

const ZSTD_LEVEL = 1
/** Text compresses to about a quarter. The result should come in one chunk, as with decompression. */
const LEAST_COMPRESS_CHUNK_BYTES = 1024
/**
 * Upper bound for the content of a frame whose header has no content size: a multiple of the frame, within bounds. Node's
 * default chunk is 16 KiB: dozens of chunks a batch, each with a callback, and all of them garbage once they are joined.
 */
const GUESS = { factor: 256, leastBytes: 64 * 1024, mostBytes: 4 * 2 ** 20 }
/**
 * A packed batch of at most `packedBytes` is unpacked on this thread, as long as its content fits into `contentBytes`: at most
 * 0.3 ms, where the way through Node's thread pool costs four times the CPU. At everyday rates nearly all batches are that small.
 */
const SMALL = { packedBytes: 16 * 1024, contentBytes: 256 * 1024 }
/** A content size above it is not trusted. */
const MAX_CHUNK_BYTES = 32 * 2 ** 20
/**
 * Largest content of a batch, bytes: six times the largest packed batch that `agent-audit setup` allows by default. A batch
 * of more is not unpacked: a few kilobytes can become gigabytes, and the process would die of them, with all its partitions.
 */
export const MAX_CONTENT_BYTES: number = 64 * 2 ** 20
/** Codecs by their number in the attributes of a batch. */
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const

const compress = promisify(zstdCompress)
const ungzip = promisify(gunzip)
const unzstd = promisify(zstdDecompress)

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
    decompress: (bytes: Buffer) => unzstd(bytes, { chunkSize: chunkSizeFor(bytes) }),
  })
}

/**
 * @param codec - Its number in the attributes of the batch, 1 to 7.
 * @throws Error if the codec is unknown or has no decoder, the data is corrupt, or its content is above
 * {@link MAX_CONTENT_BYTES}.
 */
export async function unpackContent(codec: number, packed: Buffer, decoders: BatchDecoders): Promise<Buffer> {
  const maxOutputLength = MAX_CONTENT_BYTES
  const name = CODECS[codec]
  try {
    if (name === 'gzip') return await ungzip(packed, { maxOutputLength })
    if (name === 'zstd') return await unpackZstd(packed, maxOutputLength)
    const decode = name === 'snappy' || name === 'lz4' ? decoders[name] : undefined
    if (decode !== undefined) return decode(packed, maxOutputLength)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'ERR_BUFFER_TOO_LARGE' ? `its content is above ${maxOutputLength} bytes` : message
    throw new Error(`${name}: ${reason}`, { cause: error })
  }
  throw new Error(`no decoder for codec ${name ?? codec}`)
}

async function unpackZstd(packed: Buffer, maxOutputLength: number): Promise<Buffer> {
  const chunkSize = chunkSizeFor(packed)
  if (packed.length <= SMALL.packedBytes) {
    try {
      const maxBytes = SMALL.contentBytes
      return zstdDecompressSync(packed, { chunkSize: Math.min(chunkSize, maxBytes), maxOutputLength: maxBytes })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw error
    }
  }
  return unzstd(packed, { chunkSize, maxOutputLength })
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
