/** Records as a test reads them. */
import { findChecker, findSchema, JSON_FIELDS, readFrame } from '@agent-audit/schemas'
import type { AuditRecord, JsonField } from '@agent-audit/schemas'

/** The output of a tool is JSON text wherever it was not given as text. */
type ParsedField = JsonField | 'tool_output'

/** A record as it was encoded and decoded again: JSON parsed, bytes as hex, null for what does not apply. */
export type TestEvent = {
  readonly [Field in keyof AuditRecord]: Field extends ParsedField
    ? unknown
    : AuditRecord[Field] extends Uint8Array | null
      ? string | null
      : AuditRecord[Field]
}

const PARSED_FIELDS: ReadonlySet<string> = new Set<ParsedField>([...JSON_FIELDS, 'tool_output'])

/**
 * Decodes a record that this producer wrote, in single-object encoding.
 * @throws Error when the consumer would make it a dead letter.
 */
export function decodeEvent(bytes: Uint8Array): TestEvent {
  const message = Buffer.from(bytes)
  const frame = readFrame(message)
  const schema = frame.kind === 'single-object' ? findSchema(frame.fingerprint) : undefined
  if (frame.kind !== 'single-object' || schema === undefined) throw new Error('not a record of this producer')
  const fault = findChecker(frame.fingerprint)?.check(message, frame.bodyStart, message.length)
  if (fault !== undefined) throw new Error(`the consumer does not store this record: ${fault}`)
  const fields = schema.avroType.fromBuffer(message.subarray(frame.bodyStart)) as Record<string, unknown>
  const decoded = Object.entries(fields).map(([name, value]) => [name, readable(name, value)])
  return Object.fromEntries(decoded) as TestEvent
}

function readable(name: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  return typeof value === 'string' && PARSED_FIELDS.has(name) ? parse(value) : value
}

/** A field that was cut is no longer JSON, and the output of a tool may be text. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
