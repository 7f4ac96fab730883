/** The option `redact`: its type, its check, and its description in the trail. */
import { types } from 'node:util'
import { z } from 'zod'
import { FIELD_PATH } from './field-paths.ts'

/**
 * Rules that redact an event before it is encoded, in addition to 'secrets'. A hit becomes `[redacted:rule]` and is counted
 * in field_notes: `{"tool_output":{"redacted":{"email":2}}}`. When a rule throws, the field is dropped, the event is kept,
 * and field_notes says `redaction_failed`. The rules apply in the order of these options. Fields that hold names (user_id,
 * approver_id, tool_call_id, tool_name, model_id, provider, stop_reason, error_type) lose tokens only, unless `paths` names
 * them.
 */
export interface RedactionRules {
  /**
   * Keys whose values are secret, at any depth and in any case, added to the built-in keys (password, api_key, token, cookie
   * and similar; `-` and `_` are ignored). A string is a whole key, and is also searched for as `key=value` and
   * `"key": "value"` in text; a RegExp is tried on every key, which costs more. Rule `key`.
   */
  keys?: readonly (string | RegExp)[] | undefined
  /**
   * Paths into the record: `reason`, `input_messages[*].content`, `content.user_message`, `tool_output.rows[0].name`; `[*]` is
   * any element, `.*` any key. With inputMessages 'new' an index counts from the first recorded message. Rule `path`.
   */
  paths?: readonly string[] | undefined
  /**
   * Forms of text: e-mail addresses, card numbers (Luhn), IBANs (check digits), phone numbers, or a form that you define. It
   * MUST take time linear in the text (no nested quantifiers); all its matches are replaced, whether it is global or not.
   * 'secrets' (keys and tokens of common services, private keys, passwords) always applies and need not be named.
   */
  patterns?: readonly ('email' | 'card' | 'iban' | 'phone' | 'secrets' | OwnPattern)[] | undefined
  /** Receives every text last, with its path such as `tool_output.rows[0].name`. Its result is recorded. Rule `custom`. */
  custom?: ((text: string, path: string) => string) | undefined
}

/** A form of text that the caller defines. */
export interface OwnPattern {
  /** Name in the marker: 1 to 50 letters, digits, `_`, `.` and `-`. */
  name: string
  /** Takes time linear in the text; its flags `g` and `y` are ignored. */
  pattern: RegExp
}

/** 'secrets': only the built-in keys and forms of secrets. 'off': no redaction. */
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
