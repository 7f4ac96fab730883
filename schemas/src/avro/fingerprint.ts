/** CRC-64-AVRO (Rabin) fingerprints: how single-object encoding and the column writer_schema name a schema. */

/** The polynomial of the Avro specification, "Schema Fingerprints". */
const EMPTY = 0xc15d213aa4d7a795n
const TABLE: BigUint64Array = makeTable()

/**
 * Returns the fingerprint of a schema in Parsing Canonical Form.
 * @param canonical - The canonical form, as text.
 * @returns The 64 bits as an unsigned integer.
 */
export function fingerprint64(canonical: string): bigint {
  let hash = EMPTY
  for (const byte of Buffer.from(canonical)) {
    hash = (hash >> 8n) ^ (TABLE[Number((hash ^ BigInt(byte)) & 0xffn)] ?? 0n)
  }
  return hash
}

function makeTable(): BigUint64Array {
  return BigUint64Array.from({ length: 256 }, (_, index) => {
    let entry = BigInt(index)
    for (let bit = 0; bit < 8; bit++) entry = (entry >> 1n) ^ (entry & 1n ? EMPTY : 0n)
    return entry
  })
}
