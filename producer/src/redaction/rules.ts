/** What a caller may say of redaction. */
import { types } from 'node:util'
import { z } from 'zod'
import { FIELD_PATH } from './field-paths.ts'

/**
 * What is taken out of an event before it is encoded, beside what 'secrets' takes out. A hit becomes `[redacted:rule]` and
 * is counted in field_notes: `{"tool_output":{"redacted":{"email":2}}}`. A rule that throws drops that field, keeps the
 * event and notes `redaction_failed`. Applied in the order of these options. Fields that tell who and which (user_id,
 * approver_id, tool_call_id, tool_name, model_id, provider, stop_reason, error_type) lose tokens only, unless `paths` names
 * them.
 */
export interface RedactionRules {
  /**
   * Keys whose values are secret, at any depth and in any case, added to the built-in (password, api_key, token, cookie and
   * the like; `-` and `_` count for nothing). A string is a whole key, and is looked for as `key=value` and `"key": "value"`
   * in text too; a RegExp is tried on every key, which costs more. Rule `key`.
   */
  keys?: readonly (string | RegExp)[] | undefined
  /**
   * Places in the record: `reason`, `input_messages[*].content`, `content.user_message`, `tool_output.rows[0].name`; `[*]` is
   * any element, `.*` any key. With inputMessages 'new' an index counts from the first message recorded. Rule `path`.
   */
  paths?: readonly string[] | undefined
  /**
   * Forms of text: e-mail addresses, card numbers (Luhn), IBANs (check digits), phone numbers, or a form of your own, which
   * MUST be linear in the text (no nested quantifiers) and is replaced everywhere whether it is global or not. 'secrets'
   * (keys and tokens of common services, private keys, passwords) is always looked for and need not be named.
   */
  patterns?: readonly ('email' | 'card' | 'iban' | 'phone' | 'secrets' | OwnPattern)[] | undefined
  /** Given every text last, with its place such as `tool_output.rows[0].name`. What it returns is recorded. Rule `custom`. */
  custom?: ((text: string, path: string) => string) | undefined
}

/** A form of text of one's own. */
export interface OwnPattern {
  /** Stands in the marker; letters, digits, `_`, `.` and `-`. */
  name: string
  /** Linear in the text; its flags `g` and `y` count for nothing. */
  pattern: RegExp
}

/** 'secrets': the built-in keys and forms of secrets, and nothing else. 'off': nothing. */
export type Redact = 'secrets' | 'off' | RedactionRules

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
          .regex(
            FIELD_PATH,
            'expected a text field of the record and a place in it, such as input_messages[*].content',
          ),
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

/** What the record of a run's start says of its rules: names and numbers, since a RegExp is no JSON. */
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
