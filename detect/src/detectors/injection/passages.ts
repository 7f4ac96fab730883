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
  /** It holds an address, an account or a link: it says where to act. */
  readonly saysWhere: boolean
  readonly reasons: readonly string[]
  /** The strongest of its matches. */
  readonly strength: InstructionMatch['strength']
  /** Where it begins in the output. */
  readonly at: number
  /** The passage alone, as an event that provenance can search. */
  readonly source: ProvenanceEvent
}

/** Orders with less text between them are one passage, an order and its details, where it takes over or wants secrecy; */
const GAP = 250
/** and mere orders, which pages of the web hold in every paragraph. */
const GAP_OF_ORDERS = 80
/** A longer passage is cut: a page of orders is one cause. */
const MAX_PASSAGE = 4000
/** So many that take over, and so many others, are kept of a session: the first. */
const MAX_PASSAGES = 400
const START = 60

const KNOWN = new WeakMap<Session, readonly Passage[]>()

/** The passages of a session, read once for all detectors. */
export function passagesOf(session: Session): readonly Passage[] {
  const passages = KNOWN.get(session) ?? readPassages(session)
  KNOWN.set(session, passages)
  return passages
}

/** @returns In the order of the session. A text that the agent itself had given to the tool, or the user to the agent, is none. */
function readPassages(session: Session): Passage[] {
  const passages: Passage[] = []
  const room = { takeover: MAX_PASSAGES, other: MAX_PASSAGES }
  const own = new Map<string, string>()
  for (const [position, event] of session.events.entries()) {
    if (event.event_type === 'tool_call')
      own.set(event.tool_call_id ?? '', squeezed(JSON.stringify(event.tool_input) ?? ''))
    if (event.event_type !== 'tool_result' || event.tool_output === null) continue
    for (const matches of clusters(event.tool_output, instructionsIn(event.tool_output))) {
      const text = textOf(matches)(event.tool_output)
      if (own.get(event.tool_call_id ?? '')?.includes(squeezed(text).slice(0, START)) === true) continue
      const strength = strengthOf(matches)
      const left = strength === 'takeover' ? room.takeover-- : room.other--
      if (left > 0) passages.push(toPassage(event, position, text, matches))
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
      match.at - end >
        (match.strength === 'order' && last.every(({ strength }) => strength === 'order') ? GAP_OF_ORDERS : GAP) ||
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

/** An e-mail address, an account or a link, in text as it is printed. */
const ADDRESS = /[\w.+-]{1,64}@[\w-]{1,63}\.\w|\b[A-Z]{2}\d{2}[A-Z0-9]{8,30}\b|https?:\/\/|\bwww\./
const STRENGTHS = ['takeover', 'secrecy', 'order'] as const

function strengthOf(matches: readonly InstructionMatch[]): InstructionMatch['strength'] {
  return STRENGTHS.find((each) => matches.some(({ strength }) => strength === each)) ?? 'order'
}

function toPassage(event: SessionEvent, position: number, text: string, matches: readonly InstructionMatch[]): Passage {
  const words = stemsOf(text)
  const strength = strengthOf(matches)
  return {
    words,
    // Of mere orders the ordering sentences count, not what stands between them.
    kinds: kindsOf(strength === 'order' ? stemsOf(matches.map(({ quote }) => quote).join(' ')) : words),
    saysWhere: ADDRESS.test(text),
    event,
    position,
    text,
    start: squeezed(text).slice(0, START),
    at: Math.min(...matches.map(({ at }) => at)),
    reasons: [...new Set(matches.map(({ reason }) => reason))],
    strength,
    source: { ...event, tool_output: text, input_messages: null, output_text: null, content: null },
  }
}

/** Letters and digits alone, without the escapes of a print. */
export function squeezed(text: string): string {
  return text.replaceAll(/\\[nrt]|[^\p{L}\p{N}]/gu, '').toLowerCase()
}
