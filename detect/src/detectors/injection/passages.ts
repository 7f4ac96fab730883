/** Passages in the outputs of tools that read like orders, each with what it orders. */
import { instructionsIn, type InstructionMatch, type ProvenanceEvent } from '@agent-audit/analytics'
import type { Session, SessionEvent } from '../../detector.ts'
import { kindsOf, stemsOf } from './actions.ts'

export interface Passage {
  /** The tool's result that holds it. */
  readonly event: SessionEvent
  /** Its index in the session. */
  readonly position: number
  readonly text: string
  /** Its first letters and digits: an argument that holds them holds the passage. */
  readonly start: string
  /** Its words without their endings, and the kinds of action that they name. */
  readonly words: ReadonlySet<string>
  readonly kinds: ReadonlySet<string>
  readonly reasons: readonly string[]
  /** The strongest of its matches. */
  readonly strength: InstructionMatch['strength']
  /** Where it begins in the output. */
  readonly at: number
  /** The passage alone, as an event that provenance can search. */
  readonly source: ProvenanceEvent
}

/** Orders with less text between them are one passage: an order and its details. */
const GAP = 250
/** A longer passage is cut: a page of orders is one cause. */
const MAX_PASSAGE = 4000
const MAX_PASSAGES = 400
const START = 60

/** @returns In the order of the session. A text that the agent itself had given to the tool, or the user to the agent, is none. */
export function passagesOf(session: Session): Passage[] {
  const passages: Passage[] = []
  const own = new Map<string, string>()
  for (const [position, event] of session.events.entries()) {
    if (event.event_type === 'tool_call')
      own.set(event.tool_call_id ?? '', squeezed(JSON.stringify(event.tool_input) ?? ''))
    if (event.event_type !== 'tool_result' || event.tool_output === null) continue
    for (const matches of clusters(event.tool_output, instructionsIn(event.tool_output))) {
      const text = textOf(matches)(event.tool_output)
      if (own.get(event.tool_call_id ?? '')?.includes(squeezed(text).slice(0, START)) === true) continue
      passages.push(toPassage(event, position, text, matches))
      if (passages.length === MAX_PASSAGES) return passages
    }
  }
  return passages
}

/** A next item of a list of records, or a next record: what follows belongs to another text. */
const NEXT_RECORD = /\n\s{0,40}- \w{1,40}: |\},?\s{0,40}\{/

function clusters(output: string, matches: readonly InstructionMatch[]): InstructionMatch[][] {
  const found: InstructionMatch[][] = []
  let end = -Infinity
  for (const match of matches) {
    const last = found.at(-1)
    const apart =
      last === undefined ||
      // What stands before the words that take over is a text of its own: a letter that an attacker has added to.
      (match.strength === 'takeover' && last.every(({ strength }) => strength !== 'takeover')) ||
      match.at - end > GAP ||
      match.at - (last[0]?.at ?? 0) > MAX_PASSAGE ||
      NEXT_RECORD.test(output.slice(last.at(-1)?.at, match.at))
    if (apart) found.push([match])
    else last.push(match)
    end = Math.max(end, match.at + match.quote.length)
  }
  return found
}

function textOf(matches: readonly InstructionMatch[]): (output: string) => string {
  const start = Math.min(...matches.map(({ at }) => at))
  const end = Math.max(...matches.map(({ at, quote }) => at + quote.length))
  return (output) => {
    const text = output.slice(start, Math.min(end, start + MAX_PASSAGE))
    return text.slice(0, NEXT_RECORD.exec(text)?.index ?? text.length)
  }
}

const STRENGTHS = ['takeover', 'secrecy', 'order'] as const

function toPassage(event: SessionEvent, position: number, text: string, matches: readonly InstructionMatch[]): Passage {
  const words = stemsOf(text)
  return {
    words,
    kinds: kindsOf(words),
    event,
    position,
    text,
    start: squeezed(text).slice(0, START),
    at: Math.min(...matches.map(({ at }) => at)),
    reasons: [...new Set(matches.map(({ reason }) => reason))],
    strength: STRENGTHS.find((strength) => matches.some((match) => match.strength === strength)) ?? 'order',
    source: { ...event, tool_output: text, input_messages: null, output_text: null, content: null },
  }
}

/** Letters and digits alone, without the escapes of a print. */
export function squeezed(text: string): string {
  return text.replaceAll(/\\[nrt]|[^\p{L}\p{N}]/gu, '').toLowerCase()
}
