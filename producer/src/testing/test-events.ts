/** Records as a test reads them. */
import { findSchema, readFrame } from '@agent-audit/schemas'
import type { AuditRecord } from '@agent-audit/schemas'

type JsonField = 'input_messages' | 'tool_calls_requested' | 'tool_input' | 'tool_output' | 'content' | 'field_notes'

/** A record as it was encoded and decoded again: JSON parsed, bytes as hex, null for what does not apply. */
export type TestEvent = {
  readonly [Field in keyof AuditRecord]: Field extends JsonField
    ? unknown
    : AuditRecord[Field] extends Uint8Array | null
      ? string | null
      : AuditRecord[Field]
}

const JSON_FIELDS: ReadonlySet<string> = new Set<JsonField>([
  'input_messages',
  'tool_calls_requested',
  'tool_input',
  'tool_output',
  'content',
  'field_notes',
])

/** Decodes a record of our own writing, in single-object encoding. */
export function decodeEvent(bytes: Uint8Array): TestEvent {
  const message = Buffer.from(bytes)
  const frame = readFrame(message)
  const schema = frame.kind === 'single-object' ? findSchema(frame.fingerprint) : undefined
  if (frame.kind !== 'single-object' || schema === undefined) throw new Error('not a record of this producer')
  const fields = schema.avroType.fromBuffer(message.subarray(frame.bodyStart)) as Record<string, unknown>
  const decoded = Object.entries(fields).map(([name, value]) => [name, readable(name, value)])
  return Object.fromEntries(decoded) as TestEvent
}

function readable(name: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return typeof value === 'string' && JSON_FIELDS.has(name) ? parse(value) : value
}

/** A field that was cut is no JSON any more, and a tool's output may be text. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
