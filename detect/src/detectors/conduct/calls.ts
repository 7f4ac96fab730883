/** The tool calls of a session with their results, as detectors of conduct read them. */
import { isHidden, type Session, type SessionEvent } from '../../detector.ts'

export interface Call {
  readonly call: SessionEvent
  /** Undefined where no result is stored. */
  readonly result: SessionEvent | undefined
  /** Tool and canonical arguments: equal for equal actions. */
  readonly action: string
  /** What came of it: equal for equal results. Undefined where nothing is known. */
  readonly came: string | undefined
  readonly failed: boolean
}

/** The calls that were not refused, in order. A guard's result names its call as its parent; others share the call's id. */
export function callsOf({ events }: Session): Call[] {
  const calls = events.filter((event) => event.event_type === 'tool_call' && isAllowed(event))
  const byParent = new Map<string, SessionEvent>()
  const byCallId = new Map<string, SessionEvent[]>()
  for (const event of events) {
    if (event.event_type !== 'tool_result') continue
    if (event.parent_event_id !== null) byParent.set(event.parent_event_id, event)
    const same = byCallId.get(event.tool_call_id ?? '') ?? []
    byCallId.set(event.tool_call_id ?? '', [...same, event])
  }
  return calls.map((call) => {
    const result = byParent.get(call.event_id) ?? byCallId.get(call.tool_call_id ?? '')?.shift()
    const failed = result?.outcome === 'error' || (result?.error ?? null) !== null
    return { call, result, action: actionOf(call), came: cameOf(call, result, failed), failed }
  })
}

function isAllowed({ outcome }: SessionEvent): boolean {
  return outcome === null || outcome === 'allowed' || outcome === 'success'
}

/** Whether the action took place, as far as the trail knows. */
export function isExecuted({ result }: Call): boolean {
  return result?.outcome !== 'blocked' && result?.outcome !== 'denied'
}

/** Arguments without a digest that cannot be read are like no others. */
function actionOf(call: SessionEvent): string {
  const { tool_name, arguments_sha256, tool_input, event_id } = call
  const input = isHidden(call, 'tool_input') ? event_id : JSON.stringify(tool_input ?? null)
  return `${tool_name ?? ''} ${arguments_sha256 ?? input}`
}

function cameOf(call: SessionEvent, result: SessionEvent | undefined, failed: boolean): string | undefined {
  if (result === undefined) return undefined
  const isUnread = isHidden(result, result.error === null && !isHidden(result, 'error') ? 'tool_output' : 'error')
  if (isUnread) return `${failed ? 'error' : 'ok'} ${result.event_id}`
  return failed ? `error ${errorOf(call, result)}` : `ok ${withoutTimes(result.tool_output ?? '')}`
}

/** An error without what differs at each attempt: ids, numbers, times, quoted words, and words of the call's own arguments. */
function errorOf({ tool_input }: SessionEvent, { error_type, error, tool_output }: SessionEvent): string {
  let text = (error ?? tool_output ?? '').slice(0, 2000).toLowerCase()
  for (const word of wordsOf(tool_input)) text = text.replaceAll(word, '<argument>')
  const plain = text
    .replaceAll(/(?<![a-z])(["'`])[^"'`]{1,80}\1/g, '<quoted>')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+|\d+/g, '#')
  return `${error_type ?? ''} ${plain.slice(0, 300)}`
}

const MOST_WORDS = 50

/** Texts of arguments that an error may repeat, the longest first. */
function wordsOf(input: unknown): string[] {
  const words: string[] = []
  const read = (value: unknown): void => {
    if (words.length >= MOST_WORDS) return
    if (typeof value === 'string' && value.length >= 3) words.push(value.toLowerCase())
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(read)
  }
  read(input)
  return words.toSorted((a, b) => b.length - a.length)
}

/** A result that differs only in the time at which it was made is the same result. */
function withoutTimes(text: string): string {
  return text.replaceAll(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?/g, '<time>')
}
