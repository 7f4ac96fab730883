/** A session's trail for people: a heading, then a line for each event. */
import type { TrailEvent } from '@agent-audit/analytics'
import { describeEvent } from './event-text.ts'
import { columnsOf, padded } from './table.ts'
import { counted, dayAndTime, duration, figure, type Paint, printable, shortened } from './text.ts'

export interface TimelineOptions {
  /** Whether to list every recorded field below its event, uncut. */
  readonly full: boolean
  readonly paint: Paint
}

/** Longest text of a line, characters. */
const TEXT_LENGTH = 200
/** Fields that the line shows, or that are the same in the whole session. */
const NOT_LISTED = new Set(['session_id', 'timestamp', 'event_type', 'step_number', 'requires_approval'])

/**
 * @param events - The whole session, in order: the heading sums it up.
 * @param shown - The events that get a line.
 */
export function timeline(
  events: readonly TrailEvent[],
  shown: readonly TrailEvent[],
  options: TimelineOptions,
): string {
  const lines = shown.map((event) => ({
    event,
    time: event.timestamp.slice(11, 23),
    step: String(event.step_number),
    type: printable(event.event_type),
    subject: subjectOf(event),
  }))
  const width = (key: 'step' | 'type' | 'subject', least: number): number =>
    lines.reduce((most, line) => Math.max(most, columnsOf(line[key])), least)
  const widths = { step: width('step', 4), type: width('type', 5), subject: width('subject', 4) }
  let text = `${heading(events, options.paint)}\n`
  text += `${options.paint('dim', `${padded('TIME', 12)}  STEP  ${padded('EVENT', widths.type)}  ${padded('TOOL', widths.subject)}  TEXT`)}\n`
  let day = lines[0]?.event.timestamp.slice(0, 10)
  for (const { event, time, step, type, subject } of lines) {
    const itsDay = event.timestamp.slice(0, 10)
    if (itsDay !== day) text += `${options.paint('dim', `-- ${itsDay} --`)}\n`
    day = itsDay
    const parts = [
      options.paint('dim', time),
      padded(step, widths.step, true),
      options.paint(styleOf(event), padded(type, widths.type)),
      padded(subject, widths.subject),
      shortened(describeEvent(event), TEXT_LENGTH),
    ]
    text += `${parts.join('  ').trimEnd()}\n${options.full ? fields(event, options.paint) : ''}`
  }
  if (shown.length < events.length) text += `${figure(shown.length)} of ${counted(events.length, 'event')} shown\n`
  return text
}

function heading(events: readonly TrailEvent[], paint: Paint): string {
  const first = events[0]
  const last = events.at(-1)
  if (first === undefined || last === undefined) return ''
  const agents = [...new Set(events.map((event) => event.agent_id))]
  const user = events.find((event) => event.user_id !== null)?.user_id
  const identity = [
    paint('bold', `session ${printable(first.session_id)}`),
    `${agents.length === 1 ? 'agent' : 'agents'} ${printable(agents.join(', '))}`,
    ...(user === undefined || user === null ? [] : [`user ${printable(user)}`]),
    stateOf(events),
  ]
  const count = (type: string): number => events.filter((event) => event.event_type === type).length
  const figures = [
    `${dayAndTime(first.timestamp)} UTC, ${duration(first.timestamp, last.timestamp)}`,
    counted(events.length, 'event'),
    counted(count('llm_call'), 'LLM call'),
    counted(count('tool_call'), 'tool call'),
    counted(events.filter((event) => event.error !== null).length, 'error'),
    tokensOf(events),
  ]
  return `${identity.join(' · ')}\n${figures.join(' · ')}\n`
}

function stateOf(events: readonly TrailEvent[]): string {
  const turn = events.findLast(({ event_type: type }) =>
    ['session_start', 'session_resumed', 'session_end', 'session_timeout'].includes(type),
  )
  if (turn?.event_type === 'session_timeout') return `timed out (${printable(turn.reason ?? 'no reason recorded')})`
  if (turn?.event_type !== 'session_end') return 'open'
  return turn.outcome === null ? 'ended' : `ended (${printable(turn.outcome)})`
}

function tokensOf(events: readonly TrailEvent[]): string {
  const sum = (key: 'input_tokens' | 'output_tokens'): number | null =>
    events.reduce<number | null>((total, event) => (event[key] === null ? total : (total ?? 0) + event[key]), null)
  const input = sum('input_tokens')
  const output = sum('output_tokens')
  if (input === null && output === null) return 'tokens not recorded'
  return `tokens ${input === null ? '-' : figure(input)} in, ${output === null ? '-' : figure(output)} out`
}

/** The tool, and the outcome of its call. */
function subjectOf(event: TrailEvent): string {
  // A guard may refuse an approved call: the outcome counts.
  const verdict = event.outcome ?? event.approval_status
  return [event.tool_name, verdict]
    .filter((part) => part !== null)
    .map((part) => shortened(part, 40))
    .join(' ')
}

function styleOf(event: TrailEvent): Parameters<Paint>[0] {
  if (event.error !== null || event.outcome === 'error') return 'red'
  if (event.outcome === 'denied' || event.outcome === 'blocked' || event.approval_status === 'rejected') return 'yellow'
  if (event.event_type === 'tool_call' || event.event_type === 'tool_result') return 'cyan'
  return 'bold'
}

function fields(event: TrailEvent, paint: Paint): string {
  const listed = Object.entries(event).filter(([name, value]) => value !== null && !NOT_LISTED.has(name))
  const lines = listed.map(([name, value]) => {
    const text = printable(typeof value === 'string' ? value : JSON.stringify(value, undefined, 2), true)
    return `    ${paint('dim', padded(name, 20))} ${text.replaceAll('\n', `\n${' '.repeat(25)}`)}\n`
  })
  return `${lines.join('')}\n`
}
