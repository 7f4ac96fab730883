/** A session's trail for people: a heading, then a line for each event. */
import type { TrailEvent } from '@agent-audit/analytics'
import { describeEvent } from './event-text.ts'
import { columnsOf, padded } from './table.ts'
import { counted, dayAndTime, duration, figure, type Paint, printable, shortened, shortId } from './text.ts'

export interface TimelineOptions {
  /** Whether to list every recorded field below its event, uncut. */
  readonly full: boolean
  readonly paint: Paint
}

/** Longest text of a line, characters. */
const TEXT_LENGTH = 200
/** Most agents that the heading names. */
const SHOWN_AGENTS = 20
/** A larger JSON value is printed on one line: indented it may become hundreds of times as long. */
const INDENTED_LENGTH = 65_536
/** Fields that the line shows, or that are the same in the whole session. */
const NOT_LISTED = new Set(['session_id', 'timestamp', 'event_type', 'step_number', 'requires_approval'])

/** The fields that the heading and the widths of the columns need. */
export const SUMMED_UP = [
  'timestamp',
  'event_type',
  'session_id',
  'agent_id',
  'user_id',
  'step_number',
  'tool_name',
  'outcome',
  'approval_status',
  'reason',
  'error',
  'input_tokens',
  'output_tokens',
] as const

/** Fields that decrypting an event needs as well. */
export const TO_DECRYPT = ['run_id', 'run_seq', 'event_id', 'field_notes'] as const

type Summed = Pick<TrailEvent, (typeof SUMMED_UP)[number] | 'exact'>

const TURNS = new Set(['session_start', 'session_resumed', 'session_end', 'session_timeout'])

/** Sums up a session of any length, then prints it event by event. */
export class Timeline {
  readonly #options: TimelineOptions
  readonly #widths = { step: 4, type: 5, subject: 4 }
  readonly #agents = new Set<string>()
  readonly #count = { llm_call: 0, tool_call: 0 }
  #first: Summed | undefined
  #last: Summed | undefined
  #turn: Summed | undefined
  #user: string | null = null
  #errors = 0
  #input: bigint | null = null
  #output: bigint | null = null
  #shown = 0
  #day: string | undefined
  /** Events added so far. */
  events = 0

  constructor(options: TimelineOptions) {
    this.#options = options
  }

  /** All events of the session, in order. `shown`: those that get a line. */
  add(event: Summed, shown: boolean): void {
    this.#first ??= event
    this.#last = event
    this.events++
    if (this.#agents.size <= SHOWN_AGENTS) this.#agents.add(event.agent_id)
    this.#user ??= event.user_id
    if (TURNS.has(event.event_type)) this.#turn = event
    if (event.event_type === 'llm_call' || event.event_type === 'tool_call') this.#count[event.event_type]++
    if (event.error !== null) this.#errors++
    this.#input = sum(this.#input, event, 'input_tokens')
    this.#output = sum(this.#output, event, 'output_tokens')
    if (shown) this.#measure(event)
  }

  #measure(event: Summed): void {
    if (this.#shown++ === 0) this.#day = event.timestamp.slice(0, 10)
    const widths = this.#widths
    widths.step = Math.max(widths.step, stepOf(event).length)
    widths.type = Math.max(widths.type, columnsOf(shortId(event.event_type)))
    widths.subject = Math.max(widths.subject, columnsOf(subjectOf(event)))
  }

  /** The heading and the titles of the columns. */
  head(): string {
    const { type, subject } = this.#widths
    const titles = `${padded('TIME', 12)}  STEP  ${padded('EVENT', type)}  ${padded('TOOL', subject)}  TEXT`
    return `${this.#heading()}\n${this.#options.paint('dim', titles)}\n`
  }

  /** The line of an event, after the date where a day begins; of one that cannot be shown, a line that says so. */
  line(event: TrailEvent): string {
    try {
      return this.#line(event)
    } catch (error) {
      const position = `${event.log_id}/${event.log_partition}/${event.log_offset}`
      return `the event at ${position} cannot be shown: ${shortened(String(error), TEXT_LENGTH)}\n`
    }
  }

  #line(event: TrailEvent): string {
    const { paint, full } = this.#options
    const day = event.timestamp.slice(0, 10)
    const date = day === this.#day ? '' : `${paint('dim', `-- ${day} --`)}\n`
    this.#day = day
    const parts = [
      paint('dim', event.timestamp.slice(11, 23)),
      padded(stepOf(event), this.#widths.step, true),
      paint(styleOf(event), padded(shortId(event.event_type), this.#widths.type)),
      padded(subjectOf(event), this.#widths.subject),
      shortened(describeEvent(event), TEXT_LENGTH),
    ]
    return `${date}${parts.join('  ').trimEnd()}\n${full ? fields(event, paint) : ''}`
  }

  /** How many events have no line. */
  foot(): string {
    return this.#shown < this.events ? `${figure(this.#shown)} of ${counted(this.events, 'event')} shown\n` : ''
  }

  #heading(): string {
    const [first, last] = [this.#first, this.#last]
    if (first === undefined || last === undefined) return ''
    const { paint } = this.#options
    const identity = [
      paint('bold', `session ${shortened(first.session_id, TEXT_LENGTH)}`),
      `${this.#agents.size === 1 ? 'agent' : 'agents'} ${namesOf([...this.#agents])}`,
      ...(this.#user === null ? [] : [`user ${shortId(this.#user)}`]),
      stateOf(this.#turn),
    ]
    const figures = [
      `${dayAndTime(first.timestamp)} UTC, ${duration(first.timestamp, last.timestamp)}`,
      counted(this.events, 'event'),
      counted(this.#count.llm_call, 'LLM call'),
      counted(this.#count.tool_call, 'tool call'),
      counted(this.#errors, 'error'),
      tokens(this.#input, this.#output),
    ]
    return `${identity.join(' · ')}\n${figures.join(' · ')}\n`
  }
}

/** With every digit: two values of 64 bits may already be more than a double holds. */
function sum(total: bigint | null, event: Summed, name: 'input_tokens' | 'output_tokens'): bigint | null {
  return event[name] === null ? total : (total ?? 0n) + BigInt(event.exact?.[name] ?? event[name])
}

function stepOf(event: Summed): string {
  return event.exact?.['step_number'] ?? String(event.step_number)
}

function namesOf(agents: readonly string[]): string {
  const named = agents.slice(0, SHOWN_AGENTS).map(shortId)
  return [...named, ...(agents.length > SHOWN_AGENTS ? ['and more'] : [])].join(', ')
}

/** @param turn - The last event that begins or ends the session. */
function stateOf(turn: Summed | undefined): string {
  if (turn?.event_type === 'session_timeout')
    return `timed out (${shortened(turn.reason ?? 'no reason recorded', TEXT_LENGTH)})`
  if (turn?.event_type !== 'session_end') return 'open'
  return turn.outcome === null ? 'ended' : `ended (${shortId(turn.outcome)})`
}

function tokens(input: bigint | null, output: bigint | null): string {
  if (input === null && output === null) return 'tokens not recorded'
  return `tokens ${input === null ? '-' : figure(input)} in, ${output === null ? '-' : figure(output)} out`
}

/** The tool, and the outcome of its call. */
export function subjectOf(event: Summed): string {
  // A guard may refuse an approved call: the outcome counts.
  const verdict = event.outcome ?? event.approval_status
  return [event.tool_name, verdict]
    .filter((part) => part !== null)
    .map((part) => shortened(part, 40))
    .join(' ')
}

export function styleOf(event: TrailEvent): Parameters<Paint>[0] {
  if (event.error !== null || event.outcome === 'error') return 'red'
  if (event.outcome === 'denied' || event.outcome === 'blocked' || event.approval_status === 'rejected') return 'yellow'
  if (event.event_type === 'tool_call' || event.event_type === 'tool_result') return 'cyan'
  return 'bold'
}

function fields(event: TrailEvent, paint: Paint): string {
  const listed = Object.entries(event).filter(([name, value]) => value !== null && !NOT_LISTED.has(name))
  const lines = listed.map(([name, value]) => {
    const text = printable(typeof value === 'string' ? value : indented(value), true)
    return `    ${paint('dim', padded(name, 20))} ${text.replaceAll('\n', `\n${' '.repeat(25)}`)}\n`
  })
  return `${lines.join('')}\n`
}

function indented(value: unknown): string {
  const json = JSON.stringify(value)
  return json.length > INDENTED_LENGTH ? json : JSON.stringify(value, undefined, 2)
}
