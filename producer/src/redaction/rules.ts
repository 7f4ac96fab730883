/** The option `redact`: its type, its check, and its description in the trail. */
import { types } from 'node:util'
import { z } from 'zod'
import type { Redact, RedactionRules } from '../api/trail-options.ts'
import { FIELD_PATH } from './field-paths.ts'

const regExp = z.custom<RegExp>((value) => types.isRegExp(value), 'expected a RegExp')

export const redactSchema: z.ZodType<Redact, Redact> = z.union([
  z.enum(['secrets', 'off']),
  z.strictObject({
    keys: z
      .array(z.union([z.string().min(1), regExp]))
      .readonly()
      .optional(),
    paths: z
      .array(
        z
          .string()
          .regex(FIELD_PATH, 'expected a text field of the record and a path in it, such as input_messages[*].content'),
      )
      .readonly()
      .optional(),
    patterns: z
      .array(
        z.union([
          z.enum(['email', 'card', 'iban', 'phone', 'secrets']),
          z.strictObject({ name: z.string().regex(/^[\w.-]{1,50}$/), pattern: regExp }),
        ]),
      )
      .readonly()
      .optional(),
    custom: z
      .custom<NonNullable<RedactionRules['custom']>>((value) => typeof value === 'function', 'expected a function')
      .optional(),
  }),
])

/** The rules as the record of a run's start describes them: as JSON, which a RegExp or a function is not. */
export function describeRules(redact: Redact): unknown {
  if (typeof redact === 'string') return redact
  const { keys = [], paths = [], patterns = [], custom } = redact
  return {
    keys: keys.map(String),
    paths,
    patterns: patterns.map((pattern) => (typeof pattern === 'string' ? pattern : pattern.name)),
    custom: custom !== undefined,
  }
}
