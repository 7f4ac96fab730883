/** TrailEvent has the fields of the record, each as it is read; the compiler names the one that differs. */
import type { TrailEvent } from '@agent-audit/analytics'
import type { AuditRecord, JsonField } from '@agent-audit/schemas'
import { expectTypeOf, it } from 'vitest'

/** JSON is parsed, digests become hex, the timestamp text; all else is read as it was written. */
type ReadField<Name extends keyof AuditRecord> = Name extends JsonField
  ? unknown
  : Name extends 'timestamp'
    ? string
    : AuditRecord[Name] extends Uint8Array
      ? string
      : AuditRecord[Name] extends Uint8Array | null
        ? string | null
        : AuditRecord[Name]

it('TrailEvent reads every field of the record', () => {
  expectTypeOf<Pick<TrailEvent, keyof AuditRecord>>().toEqualTypeOf<{
    readonly [Name in keyof AuditRecord]: ReadField<Name>
  }>()
})

it('beside them TrailEvent has the position in the log, the schema and the exact digits, and nothing else', () => {
  expectTypeOf<Exclude<keyof TrailEvent, keyof AuditRecord>>().toEqualTypeOf<
    'log_id' | 'log_partition' | 'log_offset' | 'log_time' | 'writer_schema' | 'exact'
  >()
})
