/** The rows in an Avro object container, without the frame around them. */
export interface ContainerRows {
  readonly count: number
  /** Back to back. */
  readonly data: Buffer
}

const MAGIC = Buffer.from('Obj\u0001')
const SYNC_BYTES = 16

/** @param container - Not compressed; of any number of blocks. An answer without rows may be empty. */
export function readContainer(container: Buffer): ContainerRows {
  if (container.length === 0) return { count: 0, data: container }
  if (!container.subarray(0, MAGIC.length).equals(MAGIC))
    throw new Error(`no container: ${container.toString('latin1', 0, 300)}`)
  const reader = new Reader(container, MAGIC.length)
  for (let entries = reader.long(); entries !== 0; entries = reader.long()) {
    if (entries < 0) reader.long()
    for (let left = Math.abs(entries); left > 0; left--) {
      const name = reader.bytes().toString()
      const value = reader.bytes().toString()
      if (name === 'avro.codec' && value !== 'null') throw new Error(`the container is compressed: ${value}`)
    }
  }
  reader.skip(SYNC_BYTES)
  const blocks: Buffer[] = []
  let count = 0
  while (!reader.ended) {
    count += reader.long()
    blocks.push(reader.bytes())
    reader.skip(SYNC_BYTES)
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
