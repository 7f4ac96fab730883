/** Reads a dead letter or a duplicate as far as possible. */
import type { DeadRecord } from '@agent-audit/analytics'
import { createRecordCheck } from '@agent-audit/consumer/pipeline'
import {
  type AuditRecord,
  createSchemaRegistry,
  decodeAsFarAsPossible,
  decodeRecord,
  findSchema,
  NEWEST_SCHEMA,
  readFrame,
} from '@agent-audit/schemas'
import { registryOf } from './connect.ts'
import type { Terminal } from './terminal.ts'

/** The event; or why it cannot be read, and the fields that can. */
export type Opened =
  | { readonly whole: true; readonly event: AuditRecord }
  | { readonly whole: false; readonly reason: string; readonly fields: Readonly<Record<string, unknown>> }

/**
 * Creates a reader of their bytes. It knows the schemas of a consumer of this version; with SCHEMA_REGISTRY_URL also those
 * of records in the Confluent wire format.
 */
export function createOpener(env: Terminal['env']): (record: DeadRecord) => Promise<Opened> {
  const registry = registryOf(env)
  const check = createRecordCheck(registry === undefined ? undefined : createSchemaRegistry(registry))
  return async ({ offset, key, value }) => {
    const record = { offset, logTimeMs: 0, key, value, headers: undefined }
    await check.prepare([record])
    const verdict = check.check(record)
    if (!verdict.storable || value === null) {
      return { whole: false, reason: verdict.storable ? 'no value' : verdict.reason, fields: readPart(value) }
    }
    const fields = decodeRecord(verdict.version, value, verdict.bodyStart)
    const inexact = Object.keys(fields).filter((name) => typeof fields[name] === 'bigint')
    if (inexact.length > 0) return { whole: false, reason: `${inexact.join(', ')}: beyond 2^53`, fields }
    const absent = NEWEST_SCHEMA.fields.filter(({ name }) => !(name in fields)).map(({ name }) => [name, null])
    return { whole: true, event: { ...fields, ...Object.fromEntries(absent) } as unknown as AuditRecord }
  }
}

function readPart(value: Buffer | null): Record<string, unknown> {
  const frame = value === null ? undefined : readFrame(value)
  if (value === null || frame?.kind !== 'single-object') return {}
  const version = findSchema(frame.fingerprint)
  return version === undefined ? {} : decodeAsFarAsPossible(version, value, frame.bodyStart)
}
