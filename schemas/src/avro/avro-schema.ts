/**
 * Versions of the audit record's Avro schema, their fingerprints, and the flat list of fields that the encoder and the
 * checker are made from. Versions live in avro/history and are never edited; avro/audit-event.avsc is the newest of them.
 * The texts are compiled in (history.generated.ts): a bundled agent has no .avsc file beside it.
 */
import { createRequire } from 'node:module'
import type avsc from 'avsc'
import { HISTORY_TEXTS } from './history.generated.ts'

/** The form of a field on the wire, beyond its Avro type: the checker also checks the characters of a UUID. */
export type FieldKind = 'string' | 'uuid' | 'long' | 'double' | 'boolean' | 'fixed'

/**
 * What a text or fixed field holds: `content` is what was said and done; `cause` is a short cause without personal data,
 * which developers may read; `name` names a person, a tool, a model or an error class; `id` refers to another event,
 * session or system; `label` is one of few values, set by the operator or by this contract; `digest` is a hash; `notes`
 * says what the producer did to other fields.
 */
export type FieldHolds = 'content' | 'cause' | 'name' | 'id' | 'label' | 'digest' | 'notes'

/** One field, with the attributes that stand beside it in the .avsc. Avro ignores those: the fingerprint has none. */
export interface RecordField {
  readonly name: string
  readonly kind: FieldKind
  /** Bytes of a fixed, else 0. */
  readonly size: number
  /** Whether the wire type is `["null", T]`. */
  readonly optional: boolean
  readonly doc: string
  /** Unit of a number, or limits of a text. */
  readonly unit: string | undefined
  /** Undefined for numbers and booleans. */
  readonly holds: FieldHolds | undefined
  /** `json`: JSON text. `text or json`: text as it was given, or the JSON text of any other value. Undefined: text. */
  readonly format: 'json' | 'text or json' | undefined
  /** Whether the producer may cut the end off when the record is too large. */
  readonly cut: boolean
  /** What redaction takes out: `tokens` only secret tokens (and the caller's paths), true all that the rules find. */
  readonly redact: boolean | 'tokens'
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

interface FieldDeclaration extends Partial<Pick<RecordField, 'doc' | 'unit' | 'holds' | 'format' | 'cut' | 'redact'>> {
  name: string
  type: unknown
}

/** The polynomial of the Avro specification, "Schema Fingerprints". */
const EMPTY = 0xc15d213aa4d7a795n
const FINGERPRINT_TABLE: BigUint64Array = makeFingerprintTable()

/** All versions ever published, oldest first. */
export const SCHEMA_VERSIONS: readonly SchemaVersion[] = loadVersions()
/** The version that producers write. */
export const NEWEST_SCHEMA: SchemaVersion = newest(SCHEMA_VERSIONS)

const byFingerprint = new Map(SCHEMA_VERSIONS.map((version) => [version.fingerprint, version]))

/** The version with this fingerprint, or undefined for a schema that is not a version of the record. */
export function findSchema(fingerprint: bigint): SchemaVersion | undefined {
  return byFingerprint.get(fingerprint)
}

/** Fingerprint of any Avro schema given as JSON text: it shows whether a schema of the registry is one of our versions. */
export function fingerprintOf(schemaText: string): bigint {
  const schema = JSON.parse(schemaText) as avsc.Schema
  return fingerprint64(JSON.stringify(loadAvsc().Type.forSchema(schema, { wrapUnions: false }).schema()))
}

/**
 * CRC-64-AVRO (Rabin) fingerprint, by which single-object encoding and the column writer_schema name a schema.
 * @param canonical - The schema's Parsing Canonical Form, as text.
 * @returns The 64 bits as an unsigned integer.
 */
export function fingerprint64(canonical: string): bigint {
  let hash = EMPTY
  for (const byte of Buffer.from(canonical)) {
    hash = (hash >> 8n) ^ (FINGERPRINT_TABLE[Number((hash ^ BigInt(byte)) & 0xffn)] ?? 0n)
  }
  return hash
}

function makeFingerprintTable(): BigUint64Array {
  return BigUint64Array.from({ length: 256 }, (_, index) => {
    let entry = BigInt(index)
    for (let bit = 0; bit < 8; bit++) entry = (entry >> 1n) ^ (entry & 1n ? EMPTY : 0n)
    return entry
  })
}

let loadedAvsc: typeof avsc | undefined

/** The library avsc, loaded at first use: a program that only writes records never needs it, and its start would take a third longer. */
export function loadAvsc(): typeof avsc {
  loadedAvsc ??= createRequire(import.meta.url)('avsc') as typeof avsc
  return loadedAvsc
}

function loadVersions(): SchemaVersion[] {
  const newestFields = (JSON.parse(HISTORY_TEXTS.at(-1) ?? '{"fields":[]}') as { fields: unknown[] }).fields.length
  return HISTORY_TEXTS.map((text, index) => {
    const schema = JSON.parse(text) as RecordDeclaration
    const fields = schema.fields.map(describeField)
    let avroType: avsc.Type | undefined
    return {
      version: index + 1,
      fingerprint: fingerprint64(canonicalForm(schema)),
      text,
      fields,
      missingFields: newestFields - fields.length,
      get avroType() {
        avroType ??= loadAvsc().Type.forSchema(schema as unknown as avsc.Schema, { wrapUnions: false })
        return avroType
      },
    }
  })
}

/** Parsing Canonical Form of the audit record: flat, with no name used twice. For any other schema: {@link fingerprintOf}. */
function canonicalForm({ name, namespace, fields }: RecordDeclaration): string {
  const canonical = (type: unknown): unknown => {
    if (Array.isArray(type)) return type.map(canonical)
    if (typeof type === 'string') return type
    const { type: plain, name: typeName, size } = type as { type: string; name?: string; size?: number }
    return plain === 'fixed' ? { name: `${namespace}.${typeName}`, type: plain, size } : plain
  }
  const plainFields = fields.map((field) => ({ name: field.name, type: canonical(field.type) }))
  return JSON.stringify({ name: `${namespace}.${name}`, type: 'record', fields: plainFields })
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
    holds: field.holds,
    format: field.format,
    cut: field.cut ?? false,
    redact: field.redact ?? false,
  }
}
