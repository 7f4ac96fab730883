/** The answer to "why did this happen?": what is recorded, and what is not. Null or an empty list: nothing is recorded. */
import type { ArgumentOrigin, InstructionMatch } from '../provenance/provenance.ts'

/** Names an event. */
export interface EventRef {
  readonly event_id: string
  readonly event_type: string
  /** By the producer's clock: `2026-11-24T10:00:00.123456Z`. */
  readonly timestamp: string
  readonly agent_id: string
  readonly tool_name: string | null
  readonly outcome: string | null
}

/** The answer of {@link why}. */
export interface Why {
  /** The event asked for. */
  readonly asked: EventRef
  /** `trail`: an event in which the trail records itself. `no_action`: an event that is no action and belongs to none. */
  readonly about: 'action' | 'no_action' | 'trail'
  /** How the event asked for belongs to the action. */
  readonly belongs: 'is' | 'approval' | 'intervention' | 'follows' | null
  readonly action: EventRef | null
  readonly session: SessionFacts
  readonly reasoning: Reasoning
  /** Null without an action, as `approval` and `data`. */
  readonly call: CallFacts | null
  readonly circumstances: Circumstances
  readonly data: DataRead | null
  readonly approval: ApprovalFacts | null
  readonly followed: Followed
  /** What was not looked at, since the session is too long, and what cannot be relied on. */
  readonly notes: readonly string[]
}

export interface SessionFacts {
  readonly session_id: string
  readonly user_id: string | null
  readonly events: number
  readonly started_at: string
  /** Times that it was resumed, before or after the action. */
  readonly resumed: number
  /** The session that started it as a sub-agent, and the event there that led to it. */
  readonly started_by: { readonly session_id: string; readonly event_id: string | null } | null
}

/** What the model said of itself. It is claimed: no evidence of why the model acted. */
export interface Reasoning {
  readonly claimed_by: 'model'
  readonly llm_call:
    | (EventRef & {
        readonly found_by: 'parent_event_id' | 'tool_calls_requested'
        readonly model_id: string | null
        readonly reasoning: string | null
        readonly output_text: string | null
        readonly stop_reason: string | null
        /** Whether it asked for exactly the call that is recorded. `null`: no call, or what it asked for is not recorded. */
        readonly asked_for: 'this_call' | 'other_arguments' | 'another_call' | null
        readonly asked_input: unknown
      })
    | null
  readonly decisions: readonly (EventRef & { readonly reasoning: string | null })[]
  /** What the model answered: a message, a result, or the start. */
  readonly answered: (EventRef & { readonly text: string | null }) | null
}

export interface CallFacts {
  readonly tool_call_id: string | null
  readonly tool_input: unknown
  readonly arguments_sha256: string | null
  readonly reason: string | null
  readonly reason_code: string | null
  readonly on_behalf_of: string | null
  readonly idempotency_key: string | null
  /** false: refused, or not run for another reason; null: the record does not say. */
  readonly executed: boolean | null
  /** In their order; more than one is unusual. */
  readonly results: readonly (EventRef & {
    readonly tool_output: string | null
    readonly error: string | null
    readonly error_type: string | null
    readonly effect: string | null
    readonly execution_time_ms: number | null
    readonly reason: string | null
  })[]
}

/** A value of the prompt, model or version, from this event on. */
export interface Change {
  readonly event_id: string
  readonly timestamp: string
  readonly agent_id: string
  /** Null: the first value of that agent in the session. */
  readonly before: string | null
  readonly value: string
}

export interface Circumstances {
  /** SHA-256, 64 hex digits. */
  readonly system_prompt_hash: string | null
  /** Event with the text of the prompt; null where only its hash is recorded. */
  readonly system_prompt_in: string | null
  readonly agent_version: string | null
  readonly model_id: string | null
  readonly environment: string | null
  /** As recorded: `{id, version, digest}`, where our producer wrote it. */
  readonly policy: unknown
  /** Changes within the session before the action. */
  readonly changes: {
    readonly system_prompt: readonly Change[]
    readonly model: readonly Change[]
    readonly version: readonly Change[]
  }
}

/** Where a value of the call comes from. `untrusted`: from what tools returned, and from no person, prompt or trusted source. */
export type Verdict = 'person_or_prompt' | 'trusted_tool' | 'untrusted' | 'model_only'

export interface DataRead {
  /** Results of tools that the agent had read before, those that matter first; at most 100. */
  readonly sources: readonly (EventRef & {
    /** Where the data came from, as the agent recorded it. */
    readonly source: string | null
    /** As the agent recorded it. Null: it did not say; then the data counts as untrusted. */
    readonly untrusted: boolean | null
    readonly characters: number
    /** Paths of the arguments that are in it. */
    readonly gave: readonly string[]
    readonly instructions: readonly InstructionMatch[]
  })[]
  readonly sources_total: number
  readonly arguments: readonly (ArgumentOrigin & { readonly verdict: Verdict })[]
}

export interface ApprovalFacts {
  readonly required: boolean
  readonly state: 'approved' | 'rejected' | 'pending' | 'overridden' | 'none'
  readonly request:
    | (EventRef & {
        readonly tool_input: unknown
        readonly arguments_sha256: string | null
        readonly reason: string | null
        readonly expires_at: string | null
      })
    | null
  readonly decisions: readonly Decision[]
  readonly digests: {
    readonly asked: string | null
    readonly approved: string | null
    readonly executed: string | null
    /** Whether what was approved is what ran; null where a digest is not recorded. */
    readonly equal: boolean | null
  }
  /** What contradicts the approval, or is missing. */
  readonly warnings: readonly { readonly code: ApprovalWarning; readonly text: string }[]
}

export type ApprovalWarning =
  | 'no_approval'
  | 'rejected'
  | 'decision_not_recorded'
  | 'arguments_differ'
  | 'self_approval'
  | 'expired'
  | 'decided_after'
  | 'identity_unknown'

/** A decision, or the intervention of a person. */
export interface Decision extends EventRef {
  readonly approver_id: string | null
  readonly approver_kind: string | null
  readonly identity_source: string | null
  readonly status: string | null
  /** false: recorded, and of no effect. */
  readonly counts: boolean
  readonly reason: string | null
  readonly arguments_sha256: string | null
  readonly shown_sha256: string | null
  /** What the approver saw, where that is not the request's tool_input. */
  readonly shown: unknown
  readonly modified: readonly string[]
  /** The arguments that the approver put in place. */
  readonly tool_input: unknown
  readonly self_approval: boolean
  /** The request that it decides; of an override the approval that it is about, if there is one. */
  readonly approval_id: string | null
  /** As the approver's key signed it: a signed note, which nothing here has verified. */
  readonly signature: string | null
  /** Whether the digests of the record are keyed, and so not those that are signed (docs/erasure.md). */
  readonly keyed_digests: boolean
  /** When the log took the record. */
  readonly log_time: string
}

export interface Followed {
  readonly events: readonly (EventRef & {
    readonly relation:
      | 'result'
      | 'model_call'
      | 'next_call'
      | 'error'
      | 'intervention'
      | 'crossing'
      | 'output'
      | 'end'
      | 'other'
    /** Whether the chain of causes leads back to the action; else it only came later. */
    readonly caused: boolean
    readonly text: string | null
  })[]
  readonly sub_sessions: readonly {
    readonly session_id: string
    readonly agent_id: string
    readonly event_id: string
    readonly timestamp: string
  }[]
}
