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
 * @param path - Where the caller wrote them.
 * @throws InvalidInputError `EVENT_INVALID` when JSON cannot hold them.
 */
export function bindInput(value: unknown, eventType: string, path: string = 'tool_input'): BoundInput {
  const issues: Issue[] = []
  const text = toCanonicalText(value, path, issues)
  if (text === undefined) throw invalidEvent(eventType, issues)
  const canonical = replaceLoneSurrogates(text)
  return { input: freeze(JSON.parse(canonical)), sha256: hash('sha256', canonical) }
}

/** Paths of the arguments that differ, as the record's `approval` names them. Both are copies of {@link bindInput}. */
export function changedFields(from: unknown, to: unknown): string[] {
  if (!isObject(from) || !isObject(to)) return ['tool_input']
  const keys = new Set([...Object.keys(from), ...Object.keys(to)])
  return [...keys].filter((key) => textOf(from, key) !== textOf(to, key)).map((key) => `tool_input.${key}`)
}

/** The copies come from canonical JSON: their keys have one order. */
function textOf(input: Record<string, unknown>, key: string): string | undefined {
  return Object.hasOwn(input, key) ? JSON.stringify(input[key]) : undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function freeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  for (const member of Object.values(value)) freeze(member)
  return Object.freeze(value)
}
