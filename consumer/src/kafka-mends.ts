/**
 * What kafkajs needs mended wherever it is used: of compressions it brings gzip alone, and its request queue never rests.
 * This file is the same in producer and consumer (a test compares the two): docs/adr/0007-kafkajs-behind-kafka-files.md.
 */
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import type { CompressionCodecs, CompressionTypes } from 'kafkajs'

const ZSTD_LEVEL = 1
/** Node's own default is 16 KiB: a batch of records would come in dozens of pieces, each with its own call back. */
const DECOMPRESS_CHUNK_BYTES = 256 * 1024

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
      compress(buffer, { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } }),
    decompress: (bytes: Buffer) => decompress(bytes, { chunkSize: DECOMPRESS_CHUNK_BYTES }),
  })
}

interface RequestQueue {
  readonly pending: readonly unknown[]
  readonly throttledUntil: number
  scheduleCheckPendingRequests(): void
}

/**
 * After its first response kafkajs looks for pending requests every millisecond for ever, with a negative timeout that
 * Node 24 warns of (tulios/kafkajs#1751). Mends this thread's copy of kafkajs, once however often it is called.
 */
export function stopIdlePolling(): void {
  const load = createRequire(import.meta.url)
  const { prototype } = load('kafkajs/src/network/requestQueue') as { prototype: RequestQueue & { mended?: boolean } }
  if (prototype.mended === true) return
  // oxlint-disable-next-line typescript/unbound-method -- called on its queue below
  const schedule = prototype.scheduleCheckPendingRequests
  prototype.mended = true
  prototype.scheduleCheckPendingRequests = function scheduleIfNeeded(this: RequestQueue): void {
    if (this.pending.length > 0 || this.throttledUntil > Date.now()) schedule.call(this)
  }
}
