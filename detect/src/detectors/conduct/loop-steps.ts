/** The calls of a session as a search for loops reads them: with what came between them. */
import type { Session, SessionEvent } from '../../detector.ts'
import { type Call, callsOf } from './calls.ts'

export interface Step extends Call {
  /** The agent waited before it, or was told something: what it does again then is no repetition. */
  readonly isFresh: boolean
  /** What it reads changes in the session. */
  readonly isLive: boolean
  /** What the model wrote before it: reasoning, else text. Undefined: nothing on record. */
  readonly said: string | undefined
}

/** A pause is so many times as long as those before the calls that the session had not made before. */
const SLOWER = 4
/** A tool that waits for the agent. */
const WAITS = /(^|[^a-z])(sleep|wait|delay|pause)/i
/** Events that tell the agent something new. */
const NEWS = new Set(['user_message', 'human_intervention', 'approval_decision'])

/** @param pauseMs - The shortest pause before a call that counts as waiting, milliseconds */
export function stepsOf(session: Session, pauseMs: number): Step[] {
  const calls = callsOf(session)
  const between = betweenOf(session)
  const least = Math.max(pauseMs, SLOWER * paceOf(calls, between))
  const isLive = liveness(calls)
  return calls.map((each, at) => {
    const { waitMs, heard, said } = between.get(each.call.event_id) ?? NOTHING
    const waits = WAITS.test(calls[at - 1]?.call.tool_name ?? '')
    return { ...each, isFresh: heard || waits || waitMs >= least, isLive: isLive(each), said }
  })
}

interface Between {
  /** From the call or the result before it, milliseconds. */
  readonly waitMs: number
  readonly heard: boolean
  readonly said: string | undefined
}
const NOTHING: Between = { waitMs: 0, heard: false, said: undefined }

function betweenOf({ events }: Session): Map<string, Between> {
  const between = new Map<string, Between>()
  let before: number | undefined
  let [heard, said]: [boolean, string | undefined] = [false, undefined]
  for (const event of events) {
    const at = Date.parse(event.timestamp)
    if (NEWS.has(event.event_type)) heard = true
    if (event.event_type === 'llm_call') said = wordsOf(event)
    if (event.event_type === 'tool_call') {
      between.set(event.event_id, { waitMs: before === undefined ? 0 : at - before, heard, said })
      heard = false
    }
    if (event.event_type === 'tool_call' || event.event_type === 'tool_result') before = at
  }
  return between
}

function wordsOf({ reasoning, output_text }: SessionEvent): string | undefined {
  const words = [reasoning, output_text].find((text) => typeof text === 'string' && text.trim() !== '')
  return words?.trim()
}

/** The usual time before a call that the session had not made before, milliseconds; 0: not known. */
function paceOf(calls: readonly Call[], between: ReadonlyMap<string, Between>): number {
  const known = new Set([calls[0]?.action])
  const waits = calls.flatMap(({ action, call }) => {
    if (known.has(action)) return []
    known.add(action)
    return [between.get(call.event_id)?.waitMs ?? 0]
  })
  return waits.length < 3 ? 0 : (waits.toSorted((a, b) => a - b)[Math.floor(waits.length / 2)] ?? 0)
}

/**
 * Whether what a call reads changes: its action gave another result before or later, or another action of its tool did so by
 * itself, with calls of that tool alone between. An error after a result says nothing of what is read.
 */
function liveness(calls: readonly Call[]): (call: Call) => boolean {
  const results = new Map<string, { readonly came: string; readonly at: number }>()
  const [actions, tools] = [new Set<string>(), new Set<string | null>()]
  let run = 0
  for (const [at, { action, came, failed, call }] of calls.entries()) {
    if (calls[at - 1]?.call.tool_name !== call.tool_name) run = at
    const before = results.get(action)
    if (came === undefined || (failed && before !== undefined)) continue
    if (before !== undefined && before.came !== came) {
      actions.add(action)
      if (before.at >= run) tools.add(call.tool_name)
    }
    results.set(action, { came, at })
  }
  return ({ action, call }) => actions.has(action) || tools.has(call.tool_name)
}
