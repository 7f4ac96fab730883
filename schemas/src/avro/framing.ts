/**
 * Framing: the bytes before a record name its schema. There are two framings, which differ in their first byte: Avro
 * single-object encoding (C3 01, 8-byte fingerprint, little endian) and the Confluent wire format (00, 4-byte registry id, big endian).
 */
import type { SchemaVersion } from './avro-schema.ts'

export const SINGLE_OBJECT_BYTES = 10
export const CONFLUENT_BYTES = 5
const SINGLE_OBJECT_MAGIC = 0xc301
const CONFLUENT_MAGIC = 0x00

/** The schema that the first bytes of a message name, and the start of its record; or the reason why they name none. */
export type Frame =
  | { readonly kind: 'single-object'; readonly fingerprint: bigint; readonly bodyStart: number }
  | { readonly kind: 'confluent'; readonly registryId: number; readonly bodyStart: number }
  | { readonly kind: 'unknown'; readonly reason: string }

/** Reads the framing of a message. */
export function readFrame(message: Buffer): Frame {
  if (message.length === 0) return { kind: 'unknown', reason: 'empty value' }
  if (message[0] === CONFLUENT_MAGIC) {
    if (message.length < CONFLUENT_BYTES) return { kind: 'unknown', reason: 'value ends inside the Confluent header' }
    return { kind: 'confluent', registryId: message.readUInt32BE(1), bodyStart: CONFLUENT_BYTES }
  }
  if (message.length < SINGLE_OBJECT_BYTES || message.readUInt16BE(0) !== SINGLE_OBJECT_MAGIC) {
    return { kind: 'unknown', reason: 'neither Avro single-object encoding nor the Confluent wire format' }
  }
  return { kind: 'single-object', fingerprint: message.readBigUInt64LE(2), bodyStart: SINGLE_OBJECT_BYTES }
}

/** The ten bytes of single-object encoding in front of every record of a version. */
export function singleObjectHeader(version: SchemaVersion): Buffer {
  const header = Buffer.alloc(SINGLE_OBJECT_BYTES)
  header.writeUInt16BE(SINGLE_OBJECT_MAGIC, 0)
  header.writeBigUInt64LE(version.fingerprint, 2)
  return header
}

/**
 * Turns a record in single-object encoding into the Confluent wire format, in place and without copying: the record keeps
 * its position, and the shorter header is written right before it.
 * @returns The view of `message` that is now in the Confluent wire format.
 */
export function reframeToConfluent(message: Buffer, registryId: number): Buffer {
  const start = SINGLE_OBJECT_BYTES - CONFLUENT_BYTES
  message[start] = CONFLUENT_MAGIC
  message.writeUInt32BE(registryId, start + 1)
  return message.subarray(start)
}
