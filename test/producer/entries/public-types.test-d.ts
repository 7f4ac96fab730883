/** The public types: what a user's compiler accepts and refuses. */
import type {
  AuditSession,
  AuditTrail,
  AuditTrailOptions,
  AuditUnavailableError,
  createAuditTrail,
  currentSession,
  DrainResult,
  Durability,
  ErrorCode,
  EventInput,
  InvalidInputError,
  LlmCall,
  Receipt,
  SessionRef,
  ToolCall,
  TrailError,
} from '@agent-audit/producer'
import { describe, expectTypeOf, it } from 'vitest'

describe('recording', () => {
  it('returns a receipt that is not a promise: the caller need not await it', () => {
    expectTypeOf<AuditSession['llmCall']>().returns.toEqualTypeOf<Receipt>()
    expectTypeOf<Receipt>().not.toHaveProperty('then')
    expectTypeOf<Receipt['stored']>().resolves.toEqualTypeOf<void>()
    expectTypeOf<Receipt['acked']>().resolves.toEqualTypeOf<{
      readonly topic: string
      readonly partition: number
      readonly offset: number
    }>()
  })

  it('requires the fields that the event type needs', () => {
    expectTypeOf<{ input_messages: []; output_text: null }>().toExtend<LlmCall>()
    expectTypeOf<{ output_text: null }>().not.toExtend<LlmCall>()
    expectTypeOf<{ input_messages: [] }>().not.toExtend<LlmCall>()
    expectTypeOf<{ tool_name: string; tool_input: { amount: number } }>().toExtend<ToolCall>()
    expectTypeOf<{ tool_name: string }>().not.toExtend<ToolCall>()
  })

  it('takes null and undefined for an unknown value, and no other type', () => {
    expectTypeOf<LlmCall['input_tokens']>().toEqualTypeOf<number | null | undefined>()
    const base = { input_messages: [], output_text: 'x' }
    const known: LlmCall = { ...base, input_tokens: 1, latency_ms: undefined, provider: null }
    // @ts-expect-error -- tokens are counted, not written
    const text: LlmCall = { ...base, input_tokens: '1' }
    // @ts-expect-error -- one of the outcomes
    const other: LlmCall = { ...base, outcome: 'fine' }
    expectTypeOf([known, text, other]).items.toEqualTypeOf<LlmCall>()
  })

  it('takes a known reason code or one of the caller, one of three effects, a policy with its id', () => {
    const call = { tool_name: 't', tool_input: {} }
    const known: ToolCall = { ...call, reason_code: 'policy_denied', policy: { id: 'p', version: '1' } }
    const own: ToolCall = { ...call, reason_code: 'acme.over_limit', on_behalf_of: 'service:billing' }
    // @ts-expect-error -- a policy without its id
    const nameless: ToolCall = { ...call, policy: { version: '1' } }
    // @ts-expect-error -- the effect of a call is known with its result
    const early: ToolCall = { ...call, effect: 'confirmed' }
    // @ts-expect-error -- confirmed, dispatched or unknown
    const other: EventInput = { event_type: 'acme.refund', effect: 'done' }
    expectTypeOf([known, own, nameless, early]).items.toEqualTypeOf<ToolCall>()
    expectTypeOf(other).toExtend<EventInput>()
  })

  it('as data: the type decides the fields; custom types have a dot; session events have only their methods', () => {
    const decision: EventInput = { event_type: 'decision', reasoning: 'because' }
    const own: EventInput = { event_type: 'billing.refund', content: { amount: 1 } }
    // @ts-expect-error -- a decision without its reasoning
    const empty: EventInput = { event_type: 'decision' }
    // @ts-expect-error -- startSession makes it
    const start: EventInput = { event_type: 'session_start' }
    // @ts-expect-error -- neither a known type nor dotted
    const unknown: EventInput = { event_type: 'whatever' }
    expectTypeOf([decision, own, empty, start, unknown]).items.toExtend<{ event_type: string }>()
  })
})

describe('a trail', () => {
  it('takes options that name its agent, and no unknown options', () => {
    expectTypeOf<typeof createAuditTrail>().returns.toEqualTypeOf<AuditTrail>()
    expectTypeOf<AuditTrailOptions['agentId']>().toEqualTypeOf<string>()
    expectTypeOf<Durability>().toEqualTypeOf<'disk' | 'broker' | 'memory'>()
    const environment: AuditTrailOptions = { agentId: 'a', brokers: undefined, durability: undefined }
    // @ts-expect-error -- agentId is missing
    const nameless: AuditTrailOptions = { durability: 'disk' }
    // @ts-expect-error -- a misspelt option
    const misspelt: AuditTrailOptions = { agentId: 'a', spooldir: '/var/spool' }
    expectTypeOf([environment, nameless, misspelt]).items.toEqualTypeOf<AuditTrailOptions>()
  })

  it('is closed by `await using`; flush and close return the counts of events', () => {
    expectTypeOf<AuditTrail>().toExtend<AsyncDisposable>()
    expectTypeOf<AuditTrail['flush']>().returns.resolves.toEqualTypeOf<DrainResult>()
    expectTypeOf<AuditTrail['close']>().returns.resolves.toEqualTypeOf<DrainResult>()
    expectTypeOf<AuditTrail['flush']>().parameter(0).toEqualTypeOf<{ timeoutMs?: number | undefined } | undefined>()
  })

  it('returns the awaited result of the work', () => {
    const trail = {} as AuditTrail
    expectTypeOf(trail.withSession({}, () => 7)).resolves.toEqualTypeOf<number>()
    expectTypeOf(trail.withSession({}, async () => 'x')).resolves.toEqualTypeOf<string>()
    expectTypeOf<AuditSession['run']>().toBeCallableWith(() => 7)
    expectTypeOf<typeof currentSession>().returns.toEqualTypeOf<AuditSession | undefined>()
  })

  it('names the agent of a child session; a ref is JSON', () => {
    expectTypeOf<AuditSession['startChild']>().parameter(0).toHaveProperty('agent_id').toEqualTypeOf<string>()
    expectTypeOf<AuditTrail['resumeSession']>().parameter(0).toEqualTypeOf<SessionRef>()
    expectTypeOf<SessionRef[keyof SessionRef]>().toEqualTypeOf<
      string | number | null | Readonly<Record<string, string>>
    >()
  })
})

describe('errors', () => {
  it('have a code from a closed list, and say whether the same call may succeed later', () => {
    expectTypeOf<TrailError>().toExtend<Error>()
    expectTypeOf<TrailError['code']>().toEqualTypeOf<ErrorCode>()
    expectTypeOf<string>().not.toExtend<ErrorCode>()
    expectTypeOf<InvalidInputError['retryable']>().toEqualTypeOf<false>()
    expectTypeOf<AuditUnavailableError['retryable']>().toEqualTypeOf<true>()
    expectTypeOf<InvalidInputError['issues']>().items.toExtend<{ path: string; expected: string }>()
  })
})
