/** Calls that a text may have ordered: those with an effect on the world, each with where its values were known from before. */
import {
  type ArgumentOrigin,
  ArgumentTracer,
  leafPaths,
  type ProvenanceEvent,
  traceArguments,
} from '@agent-audit/analytics'
import type { Session, SessionEvent } from '../../detector.ts'
import { consequenceOf, kindsOfTool, stemsOf } from './actions.ts'
import { type Passage, passagesOf, squeezed } from './passages.ts'
import { type Request, requestOf } from './request.ts'

/** A value of a call, and where it was known from before, apart from all passages. */
export interface KnownValue {
  readonly path: string
  readonly kind: ArgumentOrigin['kind']
  /** A message of the user holds it. */
  readonly byUser: boolean
  /** A message of the user or the prompt holds it. */
  readonly asked: boolean
  /** The output of a tool holds it, outside all passages. */
  readonly inOtherData: boolean
  /** The position of the event in which the agent itself wrote it first; Infinity if it never did. */
  readonly written: number
}

/** A call with an effect on the world. */
export interface SuspectCall {
  readonly call: SessionEvent
  readonly position: number
  /** The words of the tool's name without their endings, and the kinds of action that it says. */
  readonly tool: ReadonlySet<string>
  readonly kinds: readonly string[]
  /** The letters and digits of each text of its input. */
  readonly leaves: readonly { readonly path: string; readonly letters: string }[]
  /** Why it has an effect. */
  readonly consequence: string
  readonly request: Request
  /** Its values, in the order in which provenance gives them. */
  readonly values: readonly KnownValue[]
  /** The position of the first call of this tool in the session. */
  readonly firstUse: number
  /** What the user said last. */
  readonly spoken: SessionEvent | undefined
}

/** More of one session are not judged. */
const MAX_CALLS = 2000
const KNOWN = new WeakMap<Session, readonly SuspectCall[]>()

/** The calls that come after a passage, read once for all detectors. */
export function suspectsOf(session: Session): readonly SuspectCall[] {
  const suspects = KNOWN.get(session) ?? readSuspects(session, passagesOf(session))
  KNOWN.set(session, suspects)
  return suspects
}

function readSuspects({ events }: Session, passages: readonly Passage[]): SuspectCall[] {
  const [first] = passages
  if (first === undefined) return []
  const suspects: SuspectCall[] = []
  const positions = new Map(events.map(({ event_id }, position) => [event_id, position]))
  const before = new ArgumentTracer()
  const used = new Map<string | null, number>()
  const spoken: SessionEvent[] = []
  let request: Request | undefined
  for (const [position, event] of events.entries()) {
    if (event.event_type === 'session_start' || event.event_type === 'user_message') {
      spoken.push(event)
      request = undefined
    }
    if (event.event_type === 'tool_call') {
      if (!used.has(event.tool_name)) used.set(event.tool_name, position)
      const consequence = position < first.position ? undefined : consequenceOf(event, traceArguments(event, []))
      if (consequence !== undefined) {
        request ??= requestOf(spoken)
        const values = before.trace(event).map((value) => knownOf(value, positions))
        const firstUse = used.get(event.tool_name) ?? position
        suspects.push({ ...partsOf(event), position, consequence, request, values, firstUse, spoken: spoken.at(-1) })
        if (suspects.length === MAX_CALLS) break
      }
    }
    before.add(apartFrom(event, passages))
  }
  return suspects
}

function partsOf(call: SessionEvent): Pick<SuspectCall, 'call' | 'tool' | 'kinds' | 'leaves'> {
  const leaves = Array.from(leafPaths(call.tool_input), ({ path, leaf }) => ({ path, letters: squeezed(String(leaf)) }))
  return { call, tool: stemsOf(call.tool_name ?? ''), kinds: [...kindsOfTool(call.tool_name)], leaves }
}

function knownOf({ path, kind, origins }: ArgumentOrigin, positions: ReadonlyMap<string, number>): KnownValue {
  const at = origins.map(({ event_id, where }) => ({ where, position: positions.get(event_id) ?? 0 }))
  return {
    path,
    kind,
    byUser: at.some(({ where }) => where === 'user'),
    asked: at.some(({ where }) => where === 'user' || where === 'system_prompt'),
    inOtherData: at.some(({ where }) => where === 'tool_output'),
    written: Math.min(Infinity, ...at.filter(({ where }) => where === 'model').map(({ position }) => position)),
  }
}

/** The event without what passages say: their own text in a result, and the results that messages to the model repeat. */
function apartFrom(event: SessionEvent, passages: readonly Passage[]): ProvenanceEvent {
  if (event.event_type === 'tool_result') return withoutPassages(event, passages)
  if (event.event_type !== 'llm_call' || !Array.isArray(event.input_messages)) return event
  return { ...event, input_messages: event.input_messages.flatMap(asSaid) }
}

/** A message of a person or the prompt, without results of tools, which Anthropic's form has in messages of the user. */
function asSaid(message: unknown): unknown[] {
  const { role, content } = (message ?? {}) as { role?: unknown; content?: unknown }
  if (role === 'tool' || role === 'function' || role === 'assistant') return []
  if (!Array.isArray(content)) return [message]
  return [{ role, content: content.filter((part) => (part as { type?: unknown } | null)?.type !== 'tool_result') }]
}

function withoutPassages(event: SessionEvent, passages: readonly Passage[]): ProvenanceEvent {
  const output = passages
    .filter((passage) => passage.event === event)
    .toSorted((one, other) => other.at - one.at)
    .reduce((text, { at, text: cut }) => `${text.slice(0, at)} ${text.slice(at + cut.length)}`, event.tool_output ?? '')
  return { ...event, tool_output: output }
}
