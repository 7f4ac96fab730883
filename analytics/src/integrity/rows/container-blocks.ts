/** Reads an Avro object container while it arrives: block by block, and one block in memory. */
import { snappyUncompress } from 'hyparquet'
import type { ContainerRows } from '@agent-audit/schemas'

const MAGIC = Buffer.from('Obj\u0001')
const SYNC_BYTES = 16
const CRC_BYTES = 4

/** @throws Error, if the bytes are no container or end amid a block */
export async function* containerBlocks(chunks: AsyncIterable<Buffer>): AsyncGenerator<ContainerRows> {
  let bytes: Buffer = Buffer.alloc(0)
  let codec: string | undefined
  for await (const chunk of chunks) {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
    let at = 0
    if (codec === undefined) {
      const header = readHeader(bytes)
      if (header === undefined) continue
      ;({ codec, end: at } = header)
    }
    for (let block = readBlock(bytes, at); block !== undefined; block = readBlock(bytes, at)) {
      at = block.end
      yield { count: block.count, data: uncompressed(block.data, codec) }
    }
    bytes = bytes.subarray(at)
  }
  if (bytes.length > 0) throw new Error('the answer in Avro ends amid a block')
}

function uncompressed(data: Buffer, codec: string): Buffer {
  if (codec === 'null') return data
  if (codec !== 'snappy') throw new Error(`the answer in Avro is compressed by ${codec}`)
  const compressed = data.subarray(0, data.length - CRC_BYTES)
  const cursor = new Cursor(compressed, 0)
  const output = new Uint8Array(cursor.unsigned() ?? 0)
  snappyUncompress(compressed, output)
  return Buffer.from(output.buffer)
}

function readHeader(bytes: Buffer): { codec: string; end: number } | undefined {
  if (bytes.length < MAGIC.length) return undefined
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('the answer is no Avro container')
  const cursor = new Cursor(bytes, MAGIC.length)
  let codec = 'null'
  for (;;) {
    const entries = cursor.long()
    if (entries === undefined) return undefined
    if (entries === 0) break
    if (entries < 0) cursor.long()
    for (let left = Math.abs(entries); left > 0; left--) {
      const [name, value] = [cursor.text(), cursor.text()]
      if (name === undefined || value === undefined) return undefined
      if (name === 'avro.codec') codec = value
    }
  }
  const end = cursor.at + SYNC_BYTES
  return end > bytes.length ? undefined : { codec, end }
}

function readBlock(bytes: Buffer, start: number): { count: number; data: Buffer; end: number } | undefined {
  const cursor = new Cursor(bytes, start)
  const [count, length] = [cursor.long(), cursor.long()]
  if (count === undefined || length === undefined) return undefined
  const end = cursor.at + length + SYNC_BYTES
  return end > bytes.length ? undefined : { count, data: bytes.subarray(cursor.at, cursor.at + length), end }
}

/** Reads Avro's numbers and texts; undefined, where the bytes end before. */
export class Cursor {
  at: number
  readonly #bytes: Buffer

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  unsigned(): number | undefined {
    let [value, factor] = [0, 1]
    for (;;) {
      const byte = this.#bytes[this.at++]
      if (byte === undefined) return undefined
      value += (byte & 0x7f) * factor
      factor *= 0x80
      if (byte < 0x80) return value
    }
  }

  long(): number | undefined {
    const value = this.unsigned()
    if (value === undefined) return undefined
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  bytes(length: number | undefined = this.long()): Buffer | undefined {
    if (length === undefined || this.at + length > this.#bytes.length) return undefined
    this.at += length
    return this.#bytes.subarray(this.at - length, this.at)
  }

  text(): string | undefined {
    return this.bytes()?.toString()
  }
}
