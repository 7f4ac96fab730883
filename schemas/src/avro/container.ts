/** Avro object containers of one block: the form in which ClickHouse takes rows (`INSERT … FORMAT Avro`). */
import type avsc from 'avsc'
import { loadAvsc } from './avro-schema.ts'
import { MAX_VARINT_BYTES, writeLong } from './varint.ts'

/** The sync marker after a block. Any 16 bytes serve: these containers have one block. */
export const CONTAINER_SYNC: Buffer = Buffer.from('agent-audit-sync')

/** The part of a container before its block: magic, schema, codec `null`. */
export function containerHeader(schema: unknown): Buffer {
  const metadata = loadAvsc().Type.forSchema({ type: 'map', values: 'bytes' })
  const entries = { 'avro.schema': Buffer.from(JSON.stringify(schema)), 'avro.codec': Buffer.from('null') }
  return Buffer.concat([Buffer.from('Obj\u0001'), metadata.toBuffer(entries), CONTAINER_SYNC])
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
