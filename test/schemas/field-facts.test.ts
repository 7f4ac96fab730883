/** Only the .avsc describes the fields of the record: tests of its attributes, and of all lists that must agree with them. */
import { readFileSync } from 'node:fs'
import {
  type AuditRecord,
  CUT_FIELDS,
  EVENTS_TABLE,
  fingerprintOf,
  JSON_FIELDS,
  type JsonField,
  NEWEST_SCHEMA,
  REDACTED_FIELDS,
  type RecordField,
  TOKENS_ONLY_FIELDS,
  writerGrants,
} from '@agent-audit/schemas'
import { describe, expect, it } from 'vitest'
import { FULL_2, LEAST } from './records.ts'

/** A field as it stands in the .avsc. */
type Declaration = Readonly<Record<string, unknown>> & { readonly name: string; readonly type: unknown }

const file = JSON.parse(readFileSync(new URL('../../schemas/avro/audit-event.avsc', import.meta.url), 'utf8')) as {
  fields: Declaration[]
}
const { fields } = NEWEST_SCHEMA

const HOLDS = ['content', 'cause', 'name', 'id', 'label', 'digest', 'notes']
const ATTRIBUTES = new Set(['name', 'type', 'default', 'doc', 'unit', 'holds', 'format', 'cut', 'redact'])

/** The type within `["null", T]`, without its logical type. */
function plainType({ type }: Declaration): unknown {
  const inner: unknown = Array.isArray(type) ? type[1] : type
  return typeof inner === 'string' ? inner : (inner as { type: unknown }).type
}

/** Faults in the attributes of a field: attributes that are missing, unknown, or contradict each other. */
function faultsOf(field: Declaration): string[] {
  const { name, holds, format, cut, redact } = field
  const unknown = Object.keys(field).filter((key) => !ATTRIBUTES.has(key))
  const faults = unknown.map((key) => `no attribute is called "${key}"`)
  if (!['string', 'fixed', 'bytes'].includes(String(plainType(field)))) {
    if ((holds ?? format ?? cut ?? redact) !== undefined) faults.push('only a text or fixed field has such attributes')
  } else if (typeof holds !== 'string' || !HOLDS.includes(holds)) {
    faults.push(`"holds" must say what it holds, one of ${HOLDS.join(', ')}`)
  } else if (holds === 'content' || holds === 'cause') {
    if (redact !== true) faults.push(`a field that holds ${holds} must be redacted: "redact": true`)
    if (typeof cut !== 'boolean') faults.push('"cut" must say whether its end may be cut off, true or false')
    if (!Array.isArray(field.type))
      faults.push('a field that is redacted may become null: its type is ["null", "string"]')
  } else {
    const expected = holds === 'name' ? 'tokens' : undefined
    if (redact !== expected) faults.push(`a field that holds ${holds} has ${JSON.stringify(expected)} for "redact"`)
    if (cut !== undefined) faults.push('only content is cut')
  }
  if (format !== undefined && format !== 'json' && format !== 'text or json')
    faults.push('"format" is json, text or json')
  return faults.map((fault) => `${name}: ${fault}`)
}

describe('the attributes of a field', () => {
  it('stand beside each text field, and agree with one another', () => {
    expect(file.fields.flatMap(faultsOf)).toEqual([])
  })

  it('are demanded of a field that is added without them', () => {
    const text = { name: 'greeting', type: ['null', 'string'], default: null, doc: 'Words of the agent.' }
    const all = `one of ${HOLDS.join(', ')}`
    expect(faultsOf(text)).toEqual([`greeting: "holds" must say what it holds, ${all}`])
    expect(faultsOf({ ...text, holds: 'words' })).toEqual([`greeting: "holds" must say what it holds, ${all}`])
    expect(faultsOf({ ...text, holds: 'content' })).toEqual([
      'greeting: a field that holds content must be redacted: "redact": true',
      'greeting: "cut" must say whether its end may be cut off, true or false',
    ])
    expect(faultsOf({ ...text, holds: 'name' })).toEqual([
      'greeting: a field that holds name has "tokens" for "redact"',
    ])
    expect(faultsOf({ ...text, holds: 'content', redact: true, cut: false, json: true })).toEqual([
      'greeting: no attribute is called "json"',
    ])
    expect(faultsOf({ ...text, holds: 'content', redact: true, cut: true, format: 'json' })).toEqual([])
    expect(faultsOf({ name: 'retries', type: ['null', 'long'], unit: 'count' })).toEqual([])
  })

  it('change nothing of the fingerprint', () => {
    const plain = { ...file, fields: file.fields.map(({ name, type }) => ({ name, type })) }
    expect(fingerprintOf(JSON.stringify(plain))).toBe(NEWEST_SCHEMA.fingerprint)
    expect(fingerprintOf(JSON.stringify(file))).toBe(NEWEST_SCHEMA.fingerprint)
  })
})

/** Kinds of the .avsc that are of another type in memory. */
const TYPES: Partial<Record<RecordField['kind'], string>> = { uuid: 'string', long: 'number', double: 'number' }

function typeOf(value: unknown): string {
  return value instanceof Uint8Array ? `fixed ${value.length}` : typeof value
}

describe('what must agree with the .avsc', () => {
  it('the lists that cutting, redaction and reading use', () => {
    const content =
      'reason reasoning output_text input_messages tool_calls_requested tool_input tool_output error content'
    const names =
      'user_id model_id provider stop_reason tool_call_id tool_name error_type approver_id ' +
      'on_behalf_of idempotency_key policy approval'
    expect(CUT_FIELDS).toEqual(content.split(' '))
    expect(TOKENS_ONLY_FIELDS.toSorted()).toEqual(names.split(' ').toSorted())
    expect(REDACTED_FIELDS.toSorted()).toEqual([...content.split(' '), ...names.split(' ')].toSorted())
  })

  it('AuditRecord, which has its fields in its order and types', () => {
    expect(Object.keys(FULL_2)).toEqual(fields.map(({ name }) => name))
    const differing = fields.filter(({ name, kind, size, optional }) => {
      const [full, least] = [FULL_2, LEAST].map((record) => record[name as keyof AuditRecord])
      const type = kind === 'fixed' ? `fixed ${size}` : (TYPES[kind] ?? kind)
      return typeOf(full) !== type || (least === null) !== optional
    })
    expect(differing.map(({ name }) => name)).toEqual([])
  })

  it('JsonField and JSON_FIELDS', () => {
    // The compiler holds this list to the type, the test to the .avsc.
    const declared: Record<JsonField, true> = {
      input_messages: true,
      tool_calls_requested: true,
      tool_input: true,
      content: true,
      field_notes: true,
      policy: true,
      approval: true,
    }
    expect(Object.keys(declared)).toEqual(fields.filter(({ format }) => format === 'json').map(({ name }) => name))
    expect(JSON_FIELDS).toEqual(Object.keys(declared))
  })

  it('TestEvent, which parses the one field that holds text or JSON', () => {
    expect(fields.filter(({ format }) => format === 'text or json').map(({ name }) => name)).toEqual(['tool_output'])
  })

  it('the consumer, which may read no column with content, causes or names', () => {
    const grant = writerGrants('audit').find(
      (line) => line.endsWith(`audit.${EVENTS_TABLE}`) && line.includes('SELECT'),
    )
    const columns = /SELECT\(([^)]+)\)/.exec(grant ?? '')?.[1]?.split(', ') ?? []
    expect(columns).toContain('run_id')
    const closed = fields.filter(({ holds = '' }) => ['content', 'cause', 'name', 'notes'].includes(holds))
    expect(closed.map(({ name }) => name).filter((name) => columns.includes(name))).toEqual([])
  })
})
