/**
 * Versions of the audit record's Avro schema, and the flat list of fields that the encoder and the checker are made
 * from. Versions live in avro/history and are never edited; avro/audit-event.avsc is the newest one of them.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type avsc from 'avsc'
import { fingerprint64 } from './fingerprint.ts'
import { loadAvsc } from './lazy-avsc.ts'

/** What a field holds on the wire, beyond its Avro type: the bytes of a UUID's text are checked too. */
export type FieldKind = 'string' | 'uuid' | 'long' | 'double' | 'boolean' | 'fixed'

export interface RecordField {
  readonly name: string
  readonly kind: FieldKind
  /** Bytes of a fixed, else 0. */
  readonly size: number
  /** Whether the wire type is `["null", T]`. */
  readonly optional: boolean
  readonly doc: string
  readonly unit: string | undefined
}

/** One frozen version of the record's schema. */
export interface SchemaVersion {
  /** 1 for the first. */
  readonly version: number
  /** CRC-64-AVRO of the canonical form. */
  readonly fingerprint: bigint
  /** The schema as it is registered, as JSON: logical types, docs and units included. */
  readonly text: string
  readonly fields: readonly RecordField[]
  /** Fields the newest version has beyond this one; each is one 0x00 byte (null) appended to a record. */
  readonly missingFields: number
  /** Loads avsc. */
  readonly avroType: avsc.Type
}

interface RecordDeclaration {
  name: string
  namespace: string
  fields: FieldDeclaration[]
}

interface FieldDeclaration {
  name: string
  type: unknown
  doc?: string
  unit?: string
}

const HISTORY = new URL('../../avro/history/', import.meta.url)

/** Every version there ever was, oldest first. */
export const SCHEMA_VERSIONS: readonly SchemaVersion[] = loadVersions()
/** The version that producers write. */
export const NEWEST_SCHEMA: SchemaVersion = newest(SCHEMA_VERSIONS)

const byFingerprint = new Map(SCHEMA_VERSIONS.map((version) => [version.fingerprint, version]))

/** The version with this fingerprint, or undefined for a schema that was never one of ours. */
export function findSchema(fingerprint: bigint): SchemaVersion | undefined {
  return byFingerprint.get(fingerprint)
}

/** Fingerprint of any Avro schema given as JSON text; how a registry's schema is recognised as one of ours. */
export function fingerprintOf(schemaText: string): bigint {
  const schema = JSON.parse(schemaText) as avsc.Schema
  return fingerprint64(JSON.stringify(loadAvsc().Type.forSchema(schema, { wrapUnions: false }).schema()))
}

function loadVersions(): SchemaVersion[] {
  const files = readdirSync(HISTORY)
    .filter((file) => file.endsWith('.avsc'))
    .toSorted()
  const texts = files.map((file) => readFileSync(new URL(file, HISTORY), 'utf8'))
  const newestFields = (JSON.parse(texts.at(-1) ?? '{"fields":[]}') as { fields: unknown[] }).fields.length
  return texts.map((text, index) => {
    const schema = JSON.parse(text) as RecordDeclaration
    const fields = schema.fields.map(describeField)
    let avroType: avsc.Type | undefined
    return {
      version: index + 1,
      fingerprint: fingerprint64(canonicalForm(schema)),
      text: JSON.stringify(schema),
      fields,
      missingFields: newestFields - fields.length,
      get avroType() {
        avroType ??= loadAvsc().Type.forSchema(schema as unknown as avsc.Schema, { wrapUnions: false })
        return avroType
      },
    }
  })
}

/** Parsing Canonical Form of a record of ours: flat, with no name used twice. For any other schema: {@link fingerprintOf}. */
function canonicalForm({ name, namespace, fields }: RecordDeclaration): string {
  const canonical = (type: unknown): unknown => {
    if (Array.isArray(type)) return type.map(canonical)
    if (typeof type === 'string') return type
    const { type: plain, name: own, size } = type as { type: string; name?: string; size?: number }
    return plain === 'fixed' ? { name: `${namespace}.${own}`, type: plain, size } : plain
  }
  const own = fields.map((field) => ({ name: field.name, type: canonical(field.type) }))
  return JSON.stringify({ name: `${namespace}.${name}`, type: 'record', fields: own })
}

function newest(versions: readonly SchemaVersion[]): SchemaVersion {
  const last = versions.at(-1)
  if (last === undefined) throw new Error('schemas/avro/history holds no version')
  return last
}

function describeField(field: FieldDeclaration): RecordField {
  const optional = Array.isArray(field.type)
  const type: unknown = Array.isArray(field.type) ? field.type[1] : field.type
  const declared = typeof type === 'string' ? { type } : (type as { type: string; size?: number; logicalType?: string })
  return {
    name: field.name,
    kind: 'logicalType' in declared && declared.logicalType === 'uuid' ? 'uuid' : (declared.type as FieldKind),
    size: 'size' in declared ? (declared.size ?? 0) : 0,
    optional,
    doc: field.doc ?? '',
    unit: field.unit,
  }
}
