/** Avro object containers of one block: the form in which ClickHouse takes rows (`INSERT … FORMAT Avro`). */
import type avsc from 'avsc'
import { loadAvsc } from './avro-schema.ts'
import { MAX_VARINT_BYTES, writeLong } from './varint.ts'

const MAGIC = Buffer.from('Obj\u0001')
/** The sync marker after a block. Any 16 bytes serve: these containers have one block. */
export const CONTAINER_SYNC: Buffer = Buffer.from('agent-audit-sync')

/** The part of a container before its block: magic, schema, codec `null`. */
export function containerHeader(schema: unknown): Buffer {
  const metadata = loadAvsc().Type.forSchema({ type: 'map', values: 'bytes' })
  const entries = { 'avro.schema': Buffer.from(JSON.stringify(schema)), 'avro.codec': Buffer.from('null') }
  return Buffer.concat([MAGIC, metadata.toBuffer(entries), CONTAINER_SYNC])
}

/** The part of a block before its data: the number of records and of bytes. */
export function blockLengths(count: number, bytes: number): Buffer {
  const lengths = Buffer.alloc(2 * MAX_VARINT_BYTES)
  return lengths.subarray(0, writeLong(lengths, writeLong(lengths, 0, count), bytes))
}

/** Values of any Avro schema as the data of a block, for the paths where speed does not matter. */
export function encodeRows(schema: avsc.Schema, values: readonly unknown[]): Buffer {
  const type = loadAvsc().Type.forSchema(schema, { wrapUnions: false })
  return Buffer.concat(values.map((value) => type.toBuffer(value)))
}

/** The same as a whole container. */
export function encodeContainer(schema: avsc.Schema, values: readonly unknown[]): Buffer {
  const rows = encodeRows(schema, values)
  return Buffer.concat([containerHeader(schema), blockLengths(values.length, rows.length), rows, CONTAINER_SYNC])
}

/** The rows in a container, without the frame around them. */
export interface ContainerRows {
  readonly count: number
  /** Back to back. */
  readonly data: Buffer
}

/** Uncompresses a block, by the name of the codec. */
export type Codecs = Readonly<Record<string, (block: Buffer) => Buffer>>

/**
 * @param container - Of any number of blocks. An answer without rows may be empty.
 * @param codecs - Beside `null`, for a container that may be compressed.
 */
export function readContainer(container: Buffer, codecs: Codecs = {}): ContainerRows {
  if (container.length === 0) return { count: 0, data: container }
  if (!container.subarray(0, MAGIC.length).equals(MAGIC))
    throw new Error(`no container: ${container.toString('latin1', 0, 300)}`)
  const reader = new Reader(container, MAGIC.length)
  let uncompress: Codecs[string] | undefined
  for (let entries = reader.long(); entries !== 0; entries = reader.long()) {
    if (entries < 0) reader.long()
    for (let left = Math.abs(entries); left > 0; left--) {
      const name = reader.bytes().toString()
      const value = reader.bytes().toString()
      if (name !== 'avro.codec' || value === 'null') continue
      uncompress = Object.hasOwn(codecs, value) ? codecs[value] : undefined
      if (uncompress === undefined) throw new Error(`the container is compressed: ${value}`)
    }
  }
  reader.skip(CONTAINER_SYNC.length)
  const blocks: Buffer[] = []
  let count = 0
  while (!reader.ended) {
    count += reader.long()
    const block = reader.bytes()
    blocks.push(uncompress?.(block) ?? block)
    reader.skip(CONTAINER_SYNC.length)
  }
  return { count, data: Buffer.concat(blocks) }
}

class Reader {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  get ended(): boolean {
    return this.#at >= this.#bytes.length
  }

  long(): number {
    let [value, factor] = [0, 1]
    for (;;) {
      const byte = this.#bytes[this.#at++] ?? 0
      value += (byte & 0x7f) * factor
      factor *= 128
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    }
  }

  bytes(): Buffer {
    const length = this.long()
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }

  skip(bytes: number): void {
    this.#at += bytes
  }
}
