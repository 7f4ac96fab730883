/**
 * Every version of the record has only types that ClickHouse gives back byte for byte: seals are proven by what it gives back. The
 * values are tried on the real server at the consumer's start (consumer/src/store/canary.ts); this test refuses a type before.
 */
import { SCHEMA_VERSIONS } from '@agent-audit/schemas'
import { describe, expect, it } from 'vitest'

type AvroType =
  | string
  | readonly AvroType[]
  | { readonly type: string; readonly logicalType?: string; readonly [attribute: string]: unknown }

const PLAIN = ['string', 'long', 'double', 'boolean']
const LOGICAL: Readonly<Record<string, readonly string[]>> = {
  string: ['uuid'],
  long: ['timestamp-millis', 'timestamp-micros'],
}

/** Why a type does not come back as it was given; undefined if it does. */
function faultOf(type: AvroType): string | undefined {
  if (typeof type === 'string') return PLAIN.includes(type) ? undefined : `${type} is not one of ${PLAIN.join(', ')}`
  if (!('type' in type)) {
    const [first, second, ...more] = type
    if (first !== 'null' || second === undefined || more.length > 0)
      return 'a union is ["null", T]: others come back so'
    return Array.isArray(second) ? 'a union of a union' : faultOf(second)
  }
  if (type.type === 'fixed') return undefined
  const { logicalType } = type
  if (logicalType === undefined) return faultOf(type.type)
  const known = LOGICAL[type.type]?.includes(logicalType) === true
  return known ? undefined : `${logicalType} of ${type.type} is not known to come back`
}

describe.each(SCHEMA_VERSIONS.map(({ version, text }) => ({ version, text })))('version $version', ({ text }) => {
  const { fields } = JSON.parse(text) as { fields: { name: string; type: AvroType; default?: unknown }[] }

  it.each(fields)('$name comes back as it was given', ({ type }) => {
    expect(faultOf(type)).toBeUndefined()
  })
})

it.each<[string, AvroType]>([
  ['an enum, which a LowCardinality(String) gives back as a text', { type: 'enum', name: 'e', symbols: ['a'] }],
  ['a union that ends in null', ['string', 'null']],
  ['a union of three', ['null', 'string', 'long']],
  ['an int, whose column may be too narrow', 'int'],
  ['a float', 'float'],
  ['an array', { type: 'array', items: 'string' }],
  ['a map', { type: 'map', values: 'string' }],
  ['a record within the record', { type: 'record', name: 'r', fields: [] }],
  ['a decimal', { type: 'bytes', logicalType: 'decimal', precision: 10 }],
  ['a date', { type: 'int', logicalType: 'date' }],
])('refuses %s', (_what, type) => {
  expect(faultOf(type)).toEqual(expect.any(String))
})
