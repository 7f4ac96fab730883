/** The contract is documented, and a published version never changes. */
import { readdirSync } from 'node:fs'
import { SCHEMA_VERSIONS } from '@agent-audit/schemas'
import { expect, it } from 'vitest'
import { readText, ROOT } from './sources.ts'

interface Field {
  readonly name: string
  readonly type: unknown
  readonly doc?: string
  readonly unit?: string
  readonly default?: unknown
}

const HISTORY = 'schemas/avro/history'
const versions = readdirSync(`${ROOT}${HISTORY}`).toSorted()
const newest = readText('schemas/avro/audit-event.avsc')
const { fields } = JSON.parse(newest) as { fields: Field[] }

function fieldsOf(file: string): Field[] {
  return (JSON.parse(readText(`${HISTORY}/${file}`)) as { fields: Field[] }).fields
}

/** The type within `["null", T]`, without its logical type. */
function plainType({ type }: Field): unknown {
  const inner: unknown = Array.isArray(type) ? type[1] : type
  return typeof inner === 'string' ? inner : (inner as { type: unknown }).type
}

it('each field of the record has a doc', () => {
  expect(fields.filter(({ doc = '' }) => doc.trim().length < 10).map(({ name }) => name)).toEqual([])
})

it('each number has a unit', () => {
  const numbers = fields.filter((field) => ['long', 'int', 'double', 'float'].includes(String(plainType(field))))
  expect(numbers.length).toBeGreaterThan(5)
  expect(numbers.filter(({ unit = '' }) => unit.trim() === '').map(({ name }) => name)).toEqual([])
})

it('audit-event.avsc is the newest version of the history', () => {
  expect(newest).toBe(readText(`${HISTORY}/${versions.at(-1) ?? ''}`))
})

it('the compiled-in schemas are those of the history: else run `npm run generate --workspace schemas`', () => {
  const texts = versions.map((file) => JSON.stringify(JSON.parse(readText(`${HISTORY}/${file}`))))
  expect(SCHEMA_VERSIONS.map(({ text }) => text)).toEqual(texts)
})

it('versions are numbered from 1 without a gap', () => {
  expect(versions.map((file) => Number(file.slice(0, 4)))).toEqual(versions.map((_, index) => index + 1))
})

it('each version only appends optional fields to the one before', () => {
  for (const [index, file] of versions.entries()) {
    const before = index === 0 ? [] : fieldsOf(versions[index - 1] ?? '')
    const shape = ({ name, type }: Field): unknown => ({ name, type })
    expect(fieldsOf(file).slice(0, before.length).map(shape)).toEqual(before.map(shape))
    const added = index === 0 ? [] : fieldsOf(file).slice(before.length)
    for (const field of added) expect(field).toMatchObject({ type: ['null', expect.anything()], default: null })
  }
})

it('every column of the record is in the first migration, in the order of the wire', () => {
  const columns = [...readText('schemas/clickhouse/0001_audit_events.sql').matchAll(/^ {2}([a-z_0-9]+) [A-Z]\w+/gm)]
  const names = columns.map(([, name]) => name)
  expect(names.slice(0, fieldsOf(versions[0] ?? '').length)).toEqual(
    fieldsOf(versions[0] ?? '').map(({ name }) => name),
  )
})
