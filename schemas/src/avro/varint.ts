/** Integers of Avro and of Kafka's record batches: zigzag varints, least significant group first. */

/** Most bytes of a 64-bit number. */
export const MAX_VARINT_BYTES = 10

/** Writes a safe integer of at least -2^52 at `offset`, which must have {@link MAX_VARINT_BYTES} free; returns the end. */
export function writeLong(target: Uint8Array, offset: number, value: number): number {
  let position = offset
  if (value >= -0x40000000 && value < 0x40000000) {
    let bits = (value << 1) ^ (value >> 31)
    while (bits & ~0x7f) {
      target[position++] = (bits & 0x7f) | 0x80
      bits >>>= 7
    }
    target[position++] = bits
    return position
  }
  // Beyond 31 bits the bit operators would lose bits. Doubles are exact here: a doubled safe integer loses no bit, and no
  // field of the record goes below -2^52.
  let zigzag = value >= 0 ? value * 2 : -value * 2 - 1
  while (zigzag > 0x7f) {
    target[position++] = (zigzag % 0x80) | 0x80
    zigzag = Math.floor(zigzag / 0x80)
  }
  target[position++] = zigzag
  return position
}

/** Bytes that {@link writeLong} takes for a whole number from 0 to 2^30. */
export function varintBytes(value: number): number {
  return value < 2 ** 6 ? 1 : value < 2 ** 13 ? 2 : value < 2 ** 20 ? 3 : value < 2 ** 27 ? 4 : 5
}

/** Writes any signed 64-bit integer; returns the end. */
export function writeBigLong(target: Uint8Array, offset: number, value: bigint): number {
  let position = offset
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  while (rest > 0x7fn) {
    target[position++] = Number(rest & 0x7fn) | 0x80
    rest >>= 7n
  }
  target[position++] = Number(rest)
  return position
}
