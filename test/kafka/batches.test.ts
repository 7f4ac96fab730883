/** Record batches of other clients, sound and damaged, as the source on Kafka reads them. */
import { createRequire } from 'node:module'
import { crc32, gzipSync, zstdCompressSync } from 'node:zlib'
import { BATCH_DECODERS } from '@agent-audit/consumer/pipeline'
import type { BatchDecoders, LogRecord } from '@agent-audit/kafka'
import { createKafkaSource } from '@agent-audit/kafka/source'
import { describe, expect, it } from 'vitest'
import { LIBRDKAFKA_BATCHES, XERIAL_CONTENT } from './foreign-batches.ts'

interface Batch {
  readonly firstOffset: number
  readonly lastOffset: number
  unpack(decoders: BatchDecoders): Promise<{ readonly records: readonly LogRecord[] }>
}
interface Partition {
  readonly messages: readonly { readonly offset: number; readonly batches: readonly Batch[] }[]
}

const load = createRequire(import.meta.url)
const reader = load('kafkajs/src/protocol/requests/fetch/v11/response') as {
  decode(bytes: Buffer): Promise<{ readonly responses: readonly { readonly partitions: readonly Partition[] }[] }>
}
/** Another implementation than the one under test. */
const kafkajsCrc = load('kafkajs/src/protocol/recordBatch/crc32C') as (bytes: Buffer) => number

type Codec = keyof typeof LIBRDKAFKA_BATCHES
const CODECS = Object.keys(LIBRDKAFKA_BATCHES) as Codec[]
const HEAD_BYTES = 61
const [LENGTH, MAGIC, CRC, ATTRIBUTES] = [8, 16, 17, 21]
const MAX_CONTENT_BYTES = 64 * 2 ** 20

const batchOf = (codec: Codec): Buffer => Buffer.from(LIBRDKAFKA_BATCHES[codec], 'base64')

const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff])
const int32 = (value: number): Buffer => int32LE(value).swap32()

/** The bytes of a fetch response with one partition. */
function fetchResponse(recordBytes: Buffer): Buffer {
  const int64 = Buffer.alloc(8)
  const head = [int32(0), int16(0), int32(0), int32(1), int16(1), Buffer.from('t'), int32(1)]
  const partition = [int32(0), int16(0), int64, int64, int64, int32(0), int32(-1)]
  return Buffer.concat([...head, ...partition, int32(recordBytes.length), recordBytes])
}

/** Read by our reader: the import of the source has put it into kafkajs. */
async function read(recordBytes: Buffer): Promise<Partition['messages'][number]> {
  const { responses } = await reader.decode(fetchResponse(recordBytes))
  const message = responses[0]?.partitions[0]?.messages[0]
  if (message === undefined) throw new Error('no batch')
  return message
}

async function unpack(batch: Buffer, decoders: BatchDecoders = BATCH_DECODERS): Promise<readonly LogRecord[]> {
  const [only] = (await read(batch)).batches
  return (await unpackBatch(only, decoders)).records
}

async function unpackBatch(batch: Batch | undefined, decoders: BatchDecoders): ReturnType<Batch['unpack']> {
  if (batch === undefined) throw new Error('no such batch')
  return batch.unpack(decoders)
}

/** A batch of this content with one of librdkafka's heads, its length and its CRC made anew. */
function withContent(batch: Buffer, content: Buffer, codec = batch.readInt16BE(ATTRIBUTES) & 7): Buffer {
  const made = Buffer.concat([batch.subarray(0, HEAD_BYTES), content])
  made.writeInt32BE(made.length - LENGTH - 4, LENGTH)
  made.writeInt16BE((made.readInt16BE(ATTRIBUTES) & ~7) | codec, ATTRIBUTES)
  made.writeUInt32BE(kafkajsCrc(made.subarray(ATTRIBUTES)), CRC)
  return made
}

function flip(bytes: Buffer, at: number): Buffer {
  const flipped = Buffer.from(bytes)
  flipped.writeUInt8(flipped.readUInt8(at) ^ 0xff, at)
  return flipped
}

function int32LE(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}

describe('a batch of another client', () => {
  it.each(CODECS)('%s of librdkafka: all records, byte for byte', async (codec) => {
    const records = await unpack(batchOf(codec))
    expect(records.map(({ offset }) => offset)).toEqual(Array.from({ length: 50 }, (_, index) => index))
    expect(records.map(({ key }) => key?.toString())).toEqual(records.map((_, index) => `key ${index % 3}`))
    const values = records.map((_, index) => `event ${index} of a session of an agent; `.repeat(20))
    expect(records.map(({ value }) => value?.toString())).toEqual(values)
  })

  it("snappy in the framing of Kafka's Java client", async () => {
    const records = await unpack(withContent(batchOf('snappy'), Buffer.from(XERIAL_CONTENT, 'base64')))
    expect(records.map(({ value }) => value)).toEqual((await unpack(batchOf('gzip'))).map(({ value }) => value))
  })

  it('several batches in one response', async () => {
    expect(createKafkaSource).toBeTypeOf('function')
    const batches = CODECS.map(batchOf)
    const { offset, batches: found } = await read(Buffer.concat(batches))
    expect([offset, found.length]).toEqual([49, CODECS.length])
  })
})

describe('a batch that cannot be unpacked', () => {
  it.each(CODECS)('%s: a flipped bit anywhere behind the CRC, and in the CRC itself', async (codec) => {
    const batch = batchOf(codec)
    for (let at = CRC; at < batch.length; at += 7) {
      await expect(unpack(flip(batch, at)), `byte ${at}`).rejects.toThrow(/CRC-32C is [0-9a-f]{8}, expected/)
    }
  })

  it('does not take the batches before it, in the same response, with it', async () => {
    const damaged = flip(batchOf('lz4'), 100)
    damaged.writeBigInt64BE(50n)
    const { batches } = await read(Buffer.concat([batchOf('gzip'), damaged, batchOf('zstd')]))
    expect(batches.map(({ firstOffset, lastOffset }) => [firstOffset, lastOffset])).toEqual([
      [0, 49],
      [50, 50],
    ])
    expect((await unpackBatch(batches[0], {})).records.length).toBe(50)
    await expect(unpackBatch(batches[1], BATCH_DECODERS)).rejects.toThrow('CRC-32C')
  })

  it('a damaged control flag hides no records', async () => {
    const control = batchOf('gzip')
    control.writeInt16BE(control.readInt16BE(ATTRIBUTES) | 0x20, ATTRIBUTES)
    await expect(unpack(control)).rejects.toThrow('CRC-32C')
  })

  it('a damaged length, below zero and below its head', async () => {
    for (const length of [-1, -1000, 0, 20]) {
      const batch = batchOf('gzip')
      batch.writeInt32BE(length, LENGTH)
      await expect(unpack(batch), `length ${length}`).rejects.toThrow(/record batch of \d+ bytes/)
    }
  })

  it('names a format of before Kafka 0.11, and an unknown codec', async () => {
    const old = batchOf('gzip')
    old.writeInt8(1, MAGIC)
    await expect(unpack(old)).rejects.toThrow('magic 1')
    const batch = batchOf('gzip')
    await expect(unpack(withContent(batch, batch.subarray(HEAD_BYTES), 5))).rejects.toThrow('no decoder for codec 5')
    await expect(unpack(batchOf('lz4'), {})).rejects.toThrow('no decoder for codec lz4')
  })

  it.each(CODECS)('%s: content that is corrupt, under a right CRC', async (codec) => {
    const batch = batchOf(codec)
    const content = batch.subarray(HEAD_BYTES)
    const half = content.subarray(0, content.length >> 1)
    for (const bad of [half, Buffer.from('no content of any codec')]) {
      await expect(unpack(withContent(batch, bad))).rejects.toThrow(new RegExp(`^${codec}: `))
    }
  })

  it('costs no memory, however often it is read again', async () => {
    const batch = batchOf('lz4')
    const content = flip(batch.subarray(HEAD_BYTES), batch.length - HEAD_BYTES - 20)
    const [snappy, lz4] = [batchOf('snappy').subarray(HEAD_BYTES, 1500), content]
    const before = process.memoryUsage().rss
    for (let count = 0; count < 500; count++) {
      expect(() => BATCH_DECODERS.lz4?.(lz4, MAX_CONTENT_BYTES)).toThrow('corrupt')
      expect(() => BATCH_DECODERS.snappy?.(snappy, MAX_CONTENT_BYTES)).toThrow('corrupt')
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(60e6)
    expect((await unpack(batch)).length).toBe(50)
  })

  it('a decompression bomb of each codec: content above 64 MiB', async () => {
    const content = Buffer.alloc(MAX_CONTENT_BYTES + 1)
    // Snappy's length comes first. A block of LZ4 that declares 4 MiB has to hold no more than 255 times its size.
    const block = Buffer.concat([int32LE(20_000), Buffer.alloc(20_000)])
    const bombs: Record<Codec, Buffer> = {
      gzip: gzipSync(content),
      zstd: zstdCompressSync(content),
      snappy: Buffer.from('8180802000', 'hex'),
      lz4: Buffer.concat([
        Buffer.from('04224d18607000', 'hex'),
        ...Array.from({ length: 17 }, () => block),
        int32LE(0),
      ]),
    }
    for (const codec of CODECS) {
      await expect(unpack(withContent(batchOf(codec), bombs[codec]))).rejects.toThrow(`${codec}: its content is above`)
    }
  })

  it('the CRC is the one of Castagnoli, at every length and alignment', () => {
    expect(kafkajsCrc(Buffer.from('123456789'))).toBe(0xe3069283)
    expect(crc32('123456789')).not.toBe(0xe3069283)
    // Batches of every length: each is read with its right CRC, and with no other.
    const batch = batchOf('gzip')
    return Promise.all(
      Array.from({ length: 40 }, async (_, extra) => {
        const made = withContent(batch, Buffer.alloc(extra, 1), 0)
        await expect(unpack(made)).rejects.not.toThrow('CRC')
        await expect(unpack(flip(made, made.length - 1))).rejects.toThrow('CRC')
      }),
    )
  })
})
