/** The five questions about one action: why, what, under which prompt and policy, from which data, and approved by whom. */
import type { Analytics } from '../connection/clickhouse.ts'
import { eventById } from '../queries/event.ts'
import type { TrailEvent } from '../queries/session-trail.ts'
import type { CallFacts, Change, Circumstances, SessionFacts, Why } from './answer.ts'
import { describeApproval, findApproval } from './approval.ts'
import { describeData } from './data-read.ts'
import { memberOf, refOf } from './fields.ts'
import { findAction, Steps } from './find-action.ts'
import { describeFollowing, findFollowing, findResults, type FollowingStep } from './followed.ts'
import { describeReasoning, findReasoning, type ReasoningSteps } from './reasoning.ts'
import { type Around, LIMITS, SessionReader, type Step, type WhyLimits } from './read-session.ts'

const NO_DATA = { events: [], complete: true }
const NOT_RUN: ReadonlySet<string | null> = new Set<string | null>(['denied', 'blocked', 'error'])

/**
 * Answers, from the record alone, why an action was taken. Any event of a session may be asked for: an approval, a result or a
 * final output lead to their action; for an event that belongs to none the answer says what led to it.
 * @param eventId - An event_id, as `agent-audit trail --json` shows it.
 * @param limits - Bounds of what is read of a long session; `notes` of the answer say where one was reached.
 * @returns undefined if no such event is stored.
 * @throws InvalidInputError `OPTIONS_INVALID` if the id is no UUID; else as {@link Analytics.rows}.
 */
export async function why(
  connection: Analytics,
  eventId: string,
  limits: Partial<WhyLimits> = {},
): Promise<Why | undefined> {
  const asked = await eventById(connection, eventId.trim().toLowerCase())
  if (asked === undefined) return undefined
  const reader = await SessionReader.open(connection, asked.session_id)
  return new Answer(reader, asked, { ...LIMITS, ...limits }).give()
}

/** The events that an answer is made of. */
interface Read {
  readonly step: Step
  readonly reasoning: ReasoningSteps
  readonly approval: readonly Step[]
  readonly results: readonly Step[]
  readonly following: readonly FollowingStep[]
  readonly whole: ReadonlyMap<string, TrailEvent>
}

interface Frame {
  readonly action: TrailEvent | undefined
  readonly start: TrailEvent | undefined
  /** Of the session's last event. */
  readonly lastAt: string
}

class Answer {
  readonly #reader: SessionReader
  readonly #asked: TrailEvent
  readonly #limits: WhyLimits
  readonly #notes: string[] = []

  constructor(reader: SessionReader, asked: TrailEvent, limits: WhyLimits) {
    this.#reader = reader
    this.#asked = asked
    this.#limits = limits
  }

  async give(): Promise<Why> {
    const [around, start] = await Promise.all([
      this.#reader.steps(this.#asked, this.#limits.steps),
      this.#reader.start(),
    ])
    this.#noteSteps(around)
    const steps = new Steps(around.steps)
    const own = this.#asked.session_id.startsWith('trail:')
    const found = own ? undefined : findAction(this.#asked, steps)
    const step = found?.step ?? this.#asked
    const read = await this.#read(step, steps, found !== undefined)
    const action = found === undefined ? undefined : read.whole.get(step.event_id)
    const { session_id, user_id } = this.#asked
    const { events, startedAt: started_at, resumed } = around
    const session = { session_id, user_id, events, started_at, resumed, started_by: startedBy(start) }
    return {
      asked: refOf(this.#asked),
      about: own ? 'trail' : action === undefined ? 'no_action' : 'action',
      belongs: found?.belongs ?? null,
      action: action === undefined ? null : refOf(action),
      session,
      ...(await this.#describe(read, { action, start, lastAt: around.lastAt })),
      notes: this.#notes,
    }
  }

  /** Finds the events that the answer is made of, then reads them whole, all at once. */
  async #read(step: Step, steps: Steps, isAction: boolean): Promise<Read> {
    const reasoning = await findReasoning(step, steps, this.#reader)
    const approval = isAction ? findApproval(step, steps) : []
    const results = isAction ? findResults(step, steps) : []
    const following = findFollowing(step, steps)
    const needed = [step, reasoning.modelCall, reasoning.answered, ...reasoning.decisions, ...approval, ...results]
    const ids = [...needed, ...following.map((each) => each.step)].flatMap((each) => each?.event_id ?? [])
    const whole = await this.#reader.whole([...new Set(ids)])
    return { step, reasoning, approval, results, following, whole }
  }

  async #describe(
    read: Read,
    { action, start, lastAt }: Frame,
  ): Promise<Pick<Why, 'reasoning' | 'call' | 'circumstances' | 'data' | 'approval' | 'followed'>> {
    const { step, reasoning, whole } = read
    const eventsOf = (list: readonly Step[]): TrailEvent[] => list.flatMap(({ event_id }) => whole.get(event_id) ?? [])
    const [data, changes, subSessions] = await Promise.all([
      action === undefined ? NO_DATA : this.#reader.data(step, this.#limits),
      this.#reader.changes(step),
      this.#reader.subSessions(step, lastAt),
    ])
    if (!data.complete) this.#noteData(data.events.length)
    const call = action === undefined ? null : callOf(action, eventsOf(read.results))
    const about = action ?? this.#asked
    const modelCall = reasoning.modelCall === undefined ? undefined : whole.get(reasoning.modelCall.event_id)
    const caused = new Set([
      step.event_id,
      ...read.following.filter((each) => each.caused).map((each) => each.step.event_id),
    ])
    return {
      reasoning: describeReasoning(reasoning, action, whole),
      call,
      circumstances: circumstancesOf({ about, modelCall, start, changes, decisions: eventsOf(reasoning.decisions) }),
      data: action === undefined ? null : describeData(action, data.events),
      approval:
        action === undefined
          ? null
          : describeApproval({ action, events: eventsOf(read.approval), executed: call?.executed ?? null }),
      followed: {
        events: describeFollowing(read.following, whole),
        sub_sessions: subSessions
          .filter(({ parent }) => parent === null || caused.has(parent))
          .map(({ session_id, agent_id, event_id, timestamp }) => ({ session_id, agent_id, event_id, timestamp })),
      },
    }
  }

  #noteSteps({ steps, events, before }: Around): void {
    const most = this.#limits.steps
    if (before > most)
      this.#notes.push(`${before - most} events at the beginning of the session were not looked at for causes`)
    if (events - before > most)
      this.#notes.push(`${events - before - most} events at the end of the session were not looked at`)
    const same = steps.filter(({ event_id }) => event_id === this.#asked.event_id).length
    if (same > 1) this.#notes.push(`${same} rows have this event_id: one of them was forged or recorded twice`)
  }

  #noteData(read: number): void {
    this.#notes.push(
      `arguments were looked for in ${read} events: messages of people, then the latest ones; earlier ones were not searched`,
    )
  }
}

function startedBy(start: TrailEvent | undefined): SessionFacts['started_by'] {
  if (start?.parent_session_id === null || start?.parent_session_id === undefined) return null
  return { session_id: start.parent_session_id, event_id: start.parent_event_id }
}

function callOf(action: TrailEvent, results: readonly TrailEvent[]): CallFacts {
  const { tool_call_id, tool_input, arguments_sha256, reason, reason_code, on_behalf_of, idempotency_key } = action
  return {
    tool_call_id,
    tool_input,
    arguments_sha256,
    reason,
    reason_code,
    on_behalf_of,
    idempotency_key,
    executed: wasExecuted(action, results),
    results: results.map((event) => {
      const { tool_output, error, error_type, effect, execution_time_ms } = event
      return { ...refOf(event), tool_output, error, error_type, effect, execution_time_ms, reason: event.reason }
    }),
  }
}

function wasExecuted({ event_type, outcome }: TrailEvent, results: readonly TrailEvent[]): boolean | null {
  if (event_type === 'approval_request' || NOT_RUN.has(outcome)) return false
  if (results.length > 0) return results.some((result) => result.outcome !== 'blocked' && result.outcome !== 'denied')
  return outcome === null ? null : true
}

interface Setting {
  readonly about: TrailEvent
  readonly modelCall: TrailEvent | undefined
  readonly start: TrailEvent | undefined
  readonly decisions: readonly TrailEvent[]
  readonly changes: readonly (Change & { readonly what: 'system_prompt' | 'model' | 'version' })[]
}

function circumstancesOf({ about, modelCall, start, decisions, changes }: Setting): Circumstances {
  const changed = (what: 'system_prompt' | 'model' | 'version'): Change[] =>
    changes
      .filter((change) => change.what === what && change.before !== null)
      .map(({ event_id, timestamp, agent_id, before, value }) => ({ event_id, timestamp, agent_id, before, value }))
      .toReversed()
  const hash = about.system_prompt_hash ?? modelCall?.system_prompt_hash ?? null
  const hasText = typeof memberOf(start?.content, 'system_prompt') === 'string' && start?.system_prompt_hash === hash
  return {
    system_prompt_hash: hash,
    system_prompt_in: hasText ? (start?.event_id ?? null) : null,
    agent_version: about.agent_version,
    model_id: modelCall?.model_id ?? about.model_id,
    environment: about.environment,
    policy: about.policy ?? decisions.find(({ policy }) => policy !== null)?.policy ?? null,
    changes: { system_prompt: changed('system_prompt'), model: changed('model'), version: changed('version') },
  }
}
