/**
 * Decoders of snappy and LZ4 for the source on Kafka: crates of Rust, in the WebAssembly module of @platformatic/wasm-utils. They
 * are passed to the source, so that kafka/ does not install them with a producer, which needs neither.
 *
 * The module is run here, not by its package: it ends on corrupt data as after a panic, and does not free what it had unpacked
 * by then. A stopped partition reads its batch again and again, so an instance that has failed is dropped, with its memory.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { BatchDecoder, BatchDecoders } from '@agent-audit/kafka'

interface Wasm {
  readonly memory: { readonly buffer: ArrayBuffer }
  readonly alloc: (bytes: number) => number
  readonly dealloc: (at: number, bytes: number) => void
  /** Position of the content in the memory, times 2^32, plus its length. */
  readonly lz4_decompress: Decompress
  readonly snappy_decompress: Decompress
}
type Decompress = (at: number, bytes: number) => bigint

/** What is used of Node's global, which @types/node does not declare. */
declare const WebAssembly: {
  readonly Module: new (bytes: Buffer) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
  readonly RuntimeError: new () => Error
}

/** WebAssembly memory never shrinks: an instance with more is dropped after use. */
const KEPT_MEMORY_BYTES = 16 * 2 ** 20

let compiled: object | undefined
let instance: Wasm | undefined

/** Made with the first batch: most consumers see zstd only. */
function start(): Wasm {
  const entry = createRequire(import.meta.url).resolve('@platformatic/wasm-utils')
  compiled ??= new WebAssembly.Module(readFileSync(join(dirname(entry), 'native.wasm')))
  return new WebAssembly.Instance(compiled).exports as Wasm
}

function run(name: 'lz4_decompress' | 'snappy_decompress', packed: Buffer): Buffer {
  const wasm = (instance ??= start())
  instance = undefined
  try {
    const at = wasm.alloc(packed.length)
    new Uint8Array(wasm.memory.buffer, at, packed.length).set(packed)
    const found = BigInt.asUintN(64, wasm[name](at, packed.length))
    const [contentAt, length] = [Number(found >> 32n), Number(found & 0xffff_ffffn)]
    const content = Buffer.from(new Uint8Array(wasm.memory.buffer, contentAt, length))
    wasm.dealloc(contentAt, length)
    wasm.dealloc(at, packed.length)
    if (wasm.memory.buffer.byteLength <= KEPT_MEMORY_BYTES) instance = wasm
    return content
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) throw new Error('the data is corrupt', { cause: error })
    throw error
  }
}

/** Magic of the framing that Kafka's Java client puts around snappy (librdkafka puts none): `\x82SNAPPY\0`, then two versions. */
const XERIAL_MAGIC = Buffer.from('82534e4150505900', 'hex')
const XERIAL_HEAD_BYTES = 16

/** Chunks of raw snappy, each behind its length; without that framing, one chunk. */
const decodeSnappy: BatchDecoder = (packed, maxBytes) => {
  if (!packed.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return decodeRawSnappy(packed, maxBytes)
  const chunks: Buffer[] = []
  let left = maxBytes
  for (let at = XERIAL_HEAD_BYTES; at < packed.length;) {
    const end = at + 4 + uint32(packed, at, 'BE')
    if (end > packed.length) throw new Error('the data ends within a chunk')
    const chunk = decodeRawSnappy(packed.subarray(at + 4, end), left)
    chunks.push(chunk)
    left -= chunk.length
    at = end
  }
  return Buffer.concat(chunks)
}

/** Raw snappy begins with the length of its content, a varint. */
function decodeRawSnappy(packed: Buffer, maxBytes: number): Buffer {
  let [length, factor, at] = [0, 1, 0]
  for (let byte = 0x80; byte >= 0x80; factor *= 0x80) {
    byte = packed[at++] ?? Number.NaN
    length += (byte & 0x7f) * factor
    if (at > 5 || Number.isNaN(byte)) throw new Error('the data has no length')
  }
  expectAtMost(length, maxBytes)
  return run('snappy_decompress', packed)
}

/** See https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md. */
const LZ4_MAGIC = 0x184d2204
const LZ4_HEAD_BYTES = 7
const [LZ4_DICTIONARY, LZ4_CONTENT_CHECKSUM, LZ4_CONTENT_SIZE, LZ4_BLOCK_CHECKSUM] = [0x01, 0x04, 0x08, 0x10]
const LZ4_STORED = 0x8000_0000
/** A byte of a block becomes 255 at most. */
const LZ4_MAX_RATIO = 255

const decodeLz4: BatchDecoder = (packed, maxBytes) => {
  expectAtMost(boundOfLz4(packed), maxBytes)
  return run('lz4_decompress', packed)
}

/** Upper bound for the content of a frame, from the sizes of its blocks. @throws Error unless the data is one whole frame. */
function boundOfLz4(frame: Buffer): number {
  if (uint32(frame, 0, 'LE') !== LZ4_MAGIC) throw new Error('the data is no LZ4 frame')
  const flags = frame[4] ?? 0
  const blockBytes = 2 ** (8 + 2 * (((frame[5] ?? 0) >> 4) & 7))
  const perBlock = 4 + ((flags & LZ4_BLOCK_CHECKSUM) === 0 ? 0 : 4)
  let at = LZ4_HEAD_BYTES + ((flags & LZ4_CONTENT_SIZE) === 0 ? 0 : 8) + ((flags & LZ4_DICTIONARY) === 0 ? 0 : 4)
  let bound = 0
  for (let size = uint32(frame, at, 'LE'); size !== 0; size = uint32(frame, at, 'LE')) {
    const packed = size % LZ4_STORED
    bound += size >= LZ4_STORED ? packed : Math.min(blockBytes, LZ4_MAX_RATIO * packed)
    at += perBlock + packed
  }
  const end = at + 4 + ((flags & LZ4_CONTENT_CHECKSUM) === 0 ? 0 : 4)
  // The decoder would take the first frame, and leave the rest.
  if (end !== frame.length) throw new Error(`the frame has ${end} bytes, its batch ${frame.length}`)
  return bound
}

function uint32(bytes: Buffer, at: number, order: 'BE' | 'LE'): number {
  if (at + 4 > bytes.length) throw new Error('the data ends early')
  return order === 'BE' ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)
}

function expectAtMost(bytes: number, maxBytes: number): void {
  if (bytes > maxBytes) throw new Error(`its content is above the limit: ${bytes} bytes`)
}

export const BATCH_DECODERS: BatchDecoders = { snappy: decodeSnappy, lz4: decodeLz4 }
