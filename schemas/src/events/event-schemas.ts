/** The check of a caller's input: one zod schema for each event type. The compiler compares them with event-inputs.ts. */
import { z } from 'zod'
import { InvalidInputError, type Issue } from '../errors.ts'
import { noSuch } from '../near-name.ts'
import { EFFECTS } from './action-fields.ts'
import { type CustomEvent, type EventInputs, OUTCOMES, type SessionInputs } from './event-inputs.ts'

const text = z.string()
const name = z.string().min(1)
const optionalText = text.nullish()
const count = z.int().min(0).nullish()
const milliseconds = z.number().min(0).max(Number.MAX_SAFE_INTEGER).nullish()
const uuid = z.uuid().toLowerCase().nullish()

/** zod's record would leave out a key `__proto__` in silence. */
function isPlainObject(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

const common = {
  parent_event_id: uuid,
  step_number: count,
  timestamp: z.date().min(new Date('1900-01-01')).max(new Date('2299-12-31')).nullish(),
  outcome: z.enum(OUTCOMES).nullish(),
  reason: optionalText,
  reason_code: z
    .string()
    .regex(/^[a-z][a-z0-9_.]{0,63}$/, 'expected a code such as policy_denied: [a-z0-9_.], at most 64 characters')
    .nullish(),
  content: z.custom<Record<string, unknown>>(isPlainObject, 'expected an object of no class').nullish(),
}
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits, lower case')
const on_behalf_of = name.nullish()
const effect = z.enum(EFFECTS).nullish()
const policy = z.strictObject({ id: name, version: name.optional(), digest: name.optional() }).nullish()
const approval = z
  .strictObject({
    approver_kind: z.enum(['person', 'policy', 'agent']),
    identity_source: name.optional(),
    shown_sha256: sha256.optional(),
    modified: z.array(name).readonly().optional(),
    self_approval: z.boolean().optional(),
    signature: name.optional(),
  })
  .nullish()
const toolCallRequests = z
  // A provider's blocks have more fields, such as `type`: they are recorded as they are.
  .array(z.looseObject({ id: text.optional(), name, input: z.unknown() }))
  .readonly()
  .optional()
const llmCall = {
  input_messages: z.array(z.unknown()).readonly(),
  output_text: text.nullable(),
  tool_calls_requested: toolCallRequests,
  reasoning: optionalText,
  stop_reason: optionalText,
  provider: optionalText,
  model_id: optionalText,
  input_tokens: count,
  output_tokens: count,
  cache_read_tokens: count,
  cache_write_tokens: count,
  latency_ms: milliseconds,
  cost_usd: z.number().min(0).nullish(),
  error: z.unknown().optional(),
}
const toolCall = {
  tool_name: name,
  tool_input: z.unknown(),
  tool_call_id: optionalText,
  requires_approval: z.boolean().optional(),
  on_behalf_of,
  idempotency_key: name.nullish(),
  policy,
}
const toolResult = {
  tool_call_id: name,
  tool_name: name,
  tool_output: z.unknown().optional(),
  error: z.unknown().optional(),
  execution_time_ms: milliseconds,
  source: optionalText,
  untrusted: z.boolean().optional(),
  effect,
}

type InputSchemas = { [Type in keyof AllInputs]: () => z.ZodType<AllInputs[Type], AllInputs[Type]> }
type AllInputs = EventInputs & SessionInputs & { custom: CustomEvent }

/** Schema of a type. The input may contain its own type, as data for `session.record` does. */
function eventSchema<Shape extends z.ZodRawShape>(type: string, shape: Shape) {
  return z.strictObject({ event_type: z.literal(type).optional(), ...common }).extend(shape)
}

/** Functions: most programs record only a few types, and making all schemas would take a tenth of the import. */
const SCHEMAS: InputSchemas = {
  session_start: () =>
    eventSchema('session_start', {
      session_id: z.string().min(1).max(200).nullish(),
      user_id: optionalText,
      user_message: z.unknown().optional(),
      tools_available: z.array(text).readonly().optional(),
      agent_id: name.nullish(),
      agent_version: optionalText,
      model_id: optionalText,
      system_prompt: optionalText,
    }),
  user_message: () => eventSchema('user_message', { message: z.unknown(), user_id: optionalText }),
  llm_call: () => eventSchema('llm_call', llmCall),
  decision: () => eventSchema('decision', { reasoning: name, policy }),
  tool_call: () => eventSchema('tool_call', toolCall),
  tool_result: () => eventSchema('tool_result', toolResult),
  human_intervention: () =>
    eventSchema('human_intervention', {
      approver_id: name,
      reason: name,
      tool_call_id: optionalText,
      tool_name: optionalText,
      tool_input: z.unknown().optional(),
      approval_id: uuid,
      approval,
    }),
  sandbox_crossing: () =>
    eventSchema('sandbox_crossing', {
      boundary: name,
      direction: z.enum(['in', 'out']),
      resource: name,
      outcome: z.enum(OUTCOMES),
      tool_call_id: optionalText,
      on_behalf_of,
      policy,
      effect,
    }),
  state_snapshot: () => eventSchema('state_snapshot', { state: z.unknown() }),
  error: () => eventSchema('error', { error: z.unknown(), error_type: optionalText, effect }),
  final_output: () => eventSchema('final_output', { output_text: text }),
  session_end: () => eventSchema('session_end', { output_text: optionalText }),
  session_timeout: () => eventSchema('session_timeout', { output_text: optionalText, reason: name }),
  custom: () =>
    z.strictObject({
      event_type: text.optional(),
      ...z.object({ ...llmCall, ...toolCall, ...toolResult }).partial().shape,
      ...common,
      approver_id: optionalText,
      approval,
    }),
}

/** Each schema is compiled at its first use. This takes milliseconds; a compiled check takes a tenth of the time. */
const compiled: { [Type in keyof AllInputs]?: z.ZodType } = {}

/** Fields that may have any value but must be present: zod's unknown accepts undefined. */
const REQUIRED_UNKNOWN: Partial<Record<keyof AllInputs, string>> = {
  user_message: 'message',
  tool_call: 'tool_input',
  state_snapshot: 'state',
  error: 'error',
}

const CUSTOM_TYPE = /^(?!trail\.)[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$/

/** Names of the event types that `session.record` takes, beside dotted ones. */
export const EVENT_TYPES: readonly (keyof EventInputs)[] = Object.keys(SCHEMAS).filter(
  (type): type is keyof EventInputs => !['session_start', 'session_end', 'session_timeout', 'custom'].includes(type),
)

/**
 * Checks a caller's input for an event.
 * @returns The checked input; only upper-case UUIDs are changed.
 * @throws InvalidInputError `EVENT_INVALID` naming every wrong field, its path and the expected value.
 */
export function checkInput<Type extends keyof (EventInputs & SessionInputs)>(
  type: Type,
  input: unknown,
): AllInputs[Type]
export function checkInput(type: string, input: unknown): CustomEvent
export function checkInput(type: string, input: unknown): unknown {
  const key = Object.hasOwn(SCHEMAS, type) && type !== 'custom' ? (type as keyof AllInputs) : 'custom'
  if (key === 'custom' && !CUSTOM_TYPE.test(type)) throw unknownType()
  const schema = (compiled[key] ??= z.compile<z.ZodType>(SCHEMAS[key]()))
  const result = parse(schema, input, key)
  const required = REQUIRED_UNKNOWN[key]
  const missing = required !== undefined && (input as Record<string, unknown> | null)?.[required] === undefined
  if (result.success && !missing) return result.data
  const issues: Issue[] = describeIssues(result.error?.issues ?? [], SCHEMAS[key]())
  if (missing && result.success) issues.push({ path: required, expected: 'expected a value, it is missing' })
  throw invalidEvent(key === 'custom' ? 'custom event' : key, issues)
}

function parse(schema: z.ZodType, input: unknown, type: string): z.ZodSafeParseResult<unknown> {
  try {
    return schema.safeParse(input)
  } catch {
    throw invalidEvent(type, [{ path: '', expected: 'expected fields that can be read: a getter or a proxy throws' }])
  }
}

/** Most issues that an error names. A caller's value can have any number of them. */
export const MAX_ISSUES = 20

/** An `EVENT_INVALID` error whose one-line message names the issues: at most 20, then `and N more`. */
export function invalidEvent(what: string, issues: readonly Issue[]): InvalidInputError {
  const named = issues.slice(0, MAX_ISSUES)
  const listed = named.map((issue) => (issue.path === '' ? issue.expected : `${issue.path}: ${issue.expected}`))
  if (issues.length > MAX_ISSUES) listed.push(`and ${issues.length - MAX_ISSUES} more`)
  return new InvalidInputError('EVENT_INVALID', `${what} not recorded: ${listed.join('; ')}`, { issues: named })
}

/**
 * Turns issues of zod into issues of the error tree: the path as text, unknown keys one by one.
 * @param schema - Whose issues they are: names the known field that an unknown one may stand for.
 */
export function describeIssues(issues: readonly z.core.$ZodIssue[], schema: z.ZodType): Issue[] {
  const names = schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
  return issues.flatMap((issue) => describeIssue(issue, names))
}

/** @param names - Of the fields at the top. */
function describeIssue(issue: z.core.$ZodIssue, names: readonly string[]): Issue[] {
  const path = issue.path.reduce<string>(
    (at, key) => (typeof key === 'number' ? `${at}[${key}]` : at === '' ? String(key) : `${at}.${String(key)}`),
    '',
  )
  if (issue.code === 'invalid_union') return describeUnion(issue.errors, issue.path)
  if (issue.code !== 'unrecognized_keys') return [{ path, expected: issue.message }]
  return issue.keys.map((key) => ({
    path: path === '' ? key : `${path}.${key}`,
    expected: noSuch('field', key, path === '' ? names : []),
  }))
}

/** Of several forms, describes the form that the input matches best: it has faults only below the top, or unknown keys. */
function describeUnion(forms: readonly (readonly z.core.$ZodIssue[])[], path: readonly PropertyKey[]): Issue[] {
  const within = (issues: readonly z.core.$ZodIssue[]): Issue[] =>
    issues.flatMap((issue) => describeIssue({ ...issue, path: [...path, ...issue.path] }, []))
  const meant = forms.find((issues) =>
    issues.every(({ path: at, code }) => at.length > 0 || code === 'unrecognized_keys'),
  )
  if (meant !== undefined) return within(meant)
  const issues = forms.flatMap(within)
  return issues
    .slice(0, 1)
    .map(({ path: at }) => ({ path: at, expected: issues.map((each) => each.expected).join(', or ') }))
}

function unknownType(): InvalidInputError {
  const expected = `expected one of ${EVENT_TYPES.join(', ')}, or a dotted name that you choose, such as acme.query_checked`
  return invalidEvent('event', [{ path: 'event_type', expected }])
}
