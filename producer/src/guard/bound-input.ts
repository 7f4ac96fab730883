/** The arguments of an action, bound: the producer records, has approved and runs this one copy. */
import { hash } from 'node:crypto'
import { invalidEvent } from '@agent-audit/schemas'
import type { Issue, ToolCall } from '@agent-audit/schemas'
import { replaceLoneSurrogates, toCanonicalText, toJsonText } from '../record/json-text.ts'

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

/**
 * The other fields of a call, bound as its arguments are: no object of them is the caller's.
 * @throws InvalidInputError `EVENT_INVALID` when JSON cannot hold them.
 */
export function bindFields({
  content,
  policy,
  timestamp,
}: ToolCall): Pick<ToolCall, 'content' | 'policy' | 'timestamp'> {
  const issues: Issue[] = []
  const text = content === undefined || content === null ? 'null' : toJsonText(content, 'content', issues)
  if (text === undefined) throw invalidEvent('tool_call', issues)
  return {
    content: JSON.parse(text) as ToolCall['content'],
    policy: policy && { ...policy },
    timestamp: timestamp && new Date(timestamp),
  }
}

/** What a callback sees: a copy, and frozen, so that a callback that tries to change it fails and changes nothing. */
export function frozenCopy<T>(value: T): T {
  return freeze(structuredClone(value))
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

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const member of Object.values(value)) freeze(member)
  return Object.freeze(value)
}
