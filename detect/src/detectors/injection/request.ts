/** What the user and the prompt asked for, as far as their words say. */
import type { SessionEvent } from '../../detector.ts'
import { kindsOf, stemsOf } from './actions.ts'

export interface Request {
  /** Words without their endings. */
  readonly words: ReadonlySet<string>
  /** Kinds of action that they name. */
  readonly kinds: ReadonlySet<string>
  /** How much the user leaves to the data: nothing, its values (`pay the bill`), or the orders in it (`do what the file says`). */
  readonly delegates: 'nothing' | 'values' | 'orders'
}

const THE_DATA =
  '(?:files?|documents?|e?-?mails?|messages?|notes?|letters?|notices?|pages?|websites?|links?|articles?|lists?|tickets?|todos?|to-dos?|minutes|posts?|it|them|there|that|txt|md|docx|pdf)'
const ORDERS = new RegExp(
  [
    String.raw`\b(?:follow|do|perform|execute|carry\s+out|complete|implement|handle|apply|take)\b[^.!?]{0,40}\b(?:instructions?|actions?|steps?|tasks?|todos?|to-dos?|requests?|orders|directions|what)\b[^.!?]{0,60}\b${THE_DATA}\b`,
    String.raw`\b${THE_DATA}\b[^!?]{0,60}\b(?:and|then)\s+(?:follow|do|perform|execute|carry\s+out|complete|obey)\b[^!?]{0,30}\b(?:instructions?|actions?|steps?|tasks?|what|says?|asks?)\b`,
    String.raw`\b(?:whatever|what)\s+(?:the|that|it|they|is)\b[^.!?]{0,40}\b(?:says?|asks?|tells?|wants?|requests?|specified|written|described)\b`,
    String.raw`\b(?:each|every|all|any)\b[^.!?]{0,40}\b(?:tasks?|todos?|to-dos?|to\s?do\s+list|action\s+items?)\b`,
  ].join('|'),
  'i',
)
const VALUES =
  /\baccordingly\b|\baccording\s+to\b|\bbased\s+on\b|\b(?:pay|settle)\b[^.!?]{0,30}\b(?:bills?|invoices?|rent)\b|\bas\s+(?:described|mentioned|specified|stated|written|listed|requested)\b|\b(?:described|mentioned|specified|stated|written|listed|given|named)\s+(?:in|on|by)\b|\bsame\b[^.!?]{0,30}\bas\b|\b(?:her|his|their|its)\s+(?:e?-?mail|address|account|number)\b/i

/** The same word is a noun behind these: `the email` names no action, `email Ann` does. */
const NOUN =
  /\b(?:the|an?|my|your|his|her|their|our|its|this|that|these|those|each|every|all|any|some|of|from|by|via|in|on|for|with|unread|recent|new|last|next)\s+(?:[a-z]+\s+(?=e?-?mails?\b|messages?\b))?[a-z]+|\be?-?mail\s+address(?:es)?\b/gi

export function requestOf(events: readonly SessionEvent[]): Request {
  const text = events.map(spokenBy).join('\n')
  return {
    words: stemsOf(text),
    kinds: kindsOf(stemsOf(text.replaceAll(NOUN, ' '))),
    delegates: ORDERS.test(text) ? 'orders' : VALUES.test(text) ? 'values' : 'nothing',
  }
}

/** Longer texts of users are data that they paste: their first part says what they want. */
const MAX_SPOKEN = 20_000

/** What the user says in an event. */
export function spokenBy(event: SessionEvent): string {
  const content = (event.content ?? {}) as Record<string, unknown>
  const message = event.event_type === 'session_start' ? content['user_message'] : content['message']
  if (event.event_type !== 'session_start' && event.event_type !== 'user_message') return ''
  return (typeof message === 'string' ? message : (JSON.stringify(message) ?? '')).slice(0, MAX_SPOKEN)
}
