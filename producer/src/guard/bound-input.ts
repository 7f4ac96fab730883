/** The arguments of an action, bound: the producer records, has approved and runs this one copy. */
import { hash } from 'node:crypto'
import { invalidEvent } from '@agent-audit/schemas'
import type { Issue } from '@agent-audit/schemas'
import { replaceLoneSurrogates, toCanonicalText } from '../record/json-text.ts'

export interface BoundInput {
  /** A deeply frozen copy, as canonical JSON (RFC 8785) holds it. */
  readonly input: unknown
  /** SHA-256 of that JSON, 64 hex digits. */
  readonly sha256: string
}

/**
 * Copies arguments through their canonical JSON: later changes by the caller, getters and toJSON cannot make the tool run
 * with other arguments than the recorded ones.
 * @throws InvalidInputError `EVENT_INVALID` when JSON cannot hold them.
 */
export function bindInput(value: unknown, eventType: string): BoundInput {
  const issues: Issue[] = []
  const text = toCanonicalText(value, 'tool_input', issues)
  if (text === undefined) throw invalidEvent(eventType, issues)
  const canonical = replaceLoneSurrogates(text)
  return { input: freeze(JSON.parse(canonical)), sha256: hash('sha256', canonical) }
}

function freeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  for (const member of Object.values(value)) freeze(member)
  return Object.freeze(value)
}
