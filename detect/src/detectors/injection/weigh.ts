/**
 * Weighs one call against one passage in three parts: does a value of the call come from the passage, does the passage read
 * like an order to a model, and is the call out of what the user asked for. Each part is a number and its signals.
 */
import { type ArgumentOrigin, leafPaths, traceArguments } from '@agent-audit/analytics'
import type { SessionEvent, Signal } from '../../detector.ts'
import { kindsOfTool, namesThing, stemsOf } from './actions.ts'
import { type Passage, squeezed } from './passages.ts'
import type { Request } from './request.ts'

export const FOLLOWED_THRESHOLDS = {
  /** A finding has at least this score: the product of the three parts. */
  score: 0.25,
  /** Part one: what a value of the call weighs that is in the passage and in no message of the user or prompt. */
  address: 1,
  /** The same of an address that other data of the session holds as well. */
  address_elsewhere: 0.5,
  text: 0.6,
  id: 0.5,
  number: 0.3,
  /** Added where the passage names the action and the thing, whatever the arguments. */
  action_named: 0.4,
  /** Part two: a text that speaks as only a text for a model does weighs 1, an order that wants no question this, */
  secrecy: 0.8,
  /** and a mere order this. */
  order: 0.6,
  /** Part three: 1, less these. */
  user_names_action: 0.5,
  user_gives_values: 0.3,
  user_leaves_values: 0.3,
  user_leaves_orders: 0.6,
  /** So much of the four above counts where a text that takes over gives the values: such a text is no part of a request. */
  under_takeover: 0.5,
}
export type FollowedThresholds = { readonly [Name in keyof typeof FOLLOWED_THRESHOLDS]: number }

/** A call with an effect on the world. */
export interface SuspectCall {
  readonly call: SessionEvent
  /** Why it has one. */
  readonly consequence: string
  readonly request: Request
  /** The values of the call, with the messages of the user and prompts that hold them. */
  readonly asked: readonly ArgumentOrigin[]
  /** The values of the call that outputs of tools hold outside all passages, as `<path> <value>`. */
  readonly elsewhere: () => ReadonlySet<string>
  /** The position of the first call of this tool in the session. */
  readonly firstUse: number
  /** What the user said last. */
  readonly spoken: SessionEvent | undefined
}

export interface Verdict {
  readonly passage: Passage
  /** 0 to 1. */
  readonly score: number
  readonly signals: readonly Signal[]
}

interface Part {
  readonly weight: number
  readonly signals: readonly Signal[]
}

export function weigh(suspect: SuspectCall, passage: Passage, thresholds: FollowedThresholds): Verdict {
  const provenance = provenanceOf(suspect, passage, thresholds)
  if (provenance.weight === 0) return { passage, score: 0, signals: [] }
  const takenOver = passage.strength === 'takeover' && provenance.values > 0
  const pattern = patternOf(suspect, takenOver ? thresholds.under_takeover : 1, thresholds)
  const instruction = passage.strength === 'takeover' ? 1 : thresholds[passage.strength]
  const found = {
    name: 'instruction_in_tool_result',
    value: passage.reasons.join('; '),
    event_id: passage.event.event_id,
  }
  return {
    passage,
    score: Math.min(1, provenance.weight * instruction * pattern.weight),
    signals: [
      { name: 'consequential_call', value: suspect.consequence, event_id: suspect.call.event_id },
      ...provenance.signals,
      found,
      ...pattern.signals,
    ],
  }
}

/** An e-mail address, an account or a link, in text as it is printed. */
const ADDRESS = /[\w.+-]{1,64}@[\w-]{1,63}\.\w|\b[A-Z]{2}\d{2}[A-Z0-9]{8,30}\b|https?:\/\/|\bwww\./

function provenanceOf(
  suspect: SuspectCall,
  passage: Passage,
  thresholds: FollowedThresholds,
): Part & { readonly values: number } {
  const { call, asked, elsewhere } = suspect
  const carried = pathsCarrying(call.tool_input, passage)
  const traced = traceArguments(call, [passage.source])
  const own = traced.filter(({ path }) => !carried.has(path))
  const says = ADDRESS.test(passage.text)
  const addresses = own.filter(isAddress)
  // An order that says where to act is not followed by acting elsewhere.
  if (says && addresses.length > 0 && !addresses.some(isHeld)) return NOTHING
  const injected = traced.filter(
    (value, index) => isHeld(value) && !carried.has(value.path) && asked[index]?.origins.length === 0,
  )
  const isShared = (value: ArgumentOrigin): boolean => elsewhere().has(`${value.path} ${value.value}`)
  const nowhere = says && addresses.length === 0
  const named = !nowhere && namesAction(call, passage)
  // What other data holds as well (a name, a place) tells nothing, unless the passage names the action too.
  const telling = injected.filter((value) => isAddress(value) || named || !isShared(value))
  if (telling.length === 0 && !(named && isOutOfPattern(suspect, passage))) return NOTHING
  const { event_id } = passage.event
  const signals: Signal[] = telling.map(({ path, value }) => ({
    name: 'argument_from_tool_result',
    value: `${path} = ${value.slice(0, 200)}`,
    expected: 'in a message of the user or the prompt',
    event_id,
  }))
  if (named) signals.push({ name: 'action_named_in_tool_result', value: call.tool_name ?? '', event_id })
  const weights = telling.map((value) => weightOf(value, isAddress(value) && isShared(value), thresholds))
  const weight = Math.min(1, Math.max(0, ...weights) + (named ? thresholds.action_named : 0))
  return { weight, values: telling.length, signals }
}

const NOTHING = { weight: 0, values: 0, signals: [] }

/**
 * The arguments that hold the passage itself, as an object does whose name an attacker chose, or a text that is passed on:
 * what they hold of it was not taken out of it.
 */
function pathsCarrying(input: unknown, { start }: Passage): ReadonlySet<string> {
  const paths = new Set<string>()
  for (const { path, leaf } of leafPaths(input)) {
    if (String(leaf).length >= start.length && squeezed(String(leaf)).includes(start)) paths.add(path)
  }
  return paths
}

function namesAction(call: SessionEvent, { kinds, words }: Passage): boolean {
  return (
    [...kindsOfTool(call.tool_name)].some((kind) => kinds.has(kind)) && namesThing(stemsOf(call.tool_name ?? ''), words)
  )
}

/** Neither the words nor the values of the user are behind the call, and the agent had not called the tool before it read this. */
function isOutOfPattern({ call, request, asked, firstUse }: SuspectCall, { position }: Passage): boolean {
  return (
    firstUse > position &&
    ![...kindsOfTool(call.tool_name)].some((kind) => request.kinds.has(kind)) &&
    !asked.some(({ origins, kind }) => kind !== 'number' && origins.some(({ where }) => where === 'user'))
  )
}

function isHeld({ origins }: ArgumentOrigin): boolean {
  return origins.length > 0
}

function isAddress({ kind }: ArgumentOrigin): boolean {
  return kind === 'email' || kind === 'iban' || kind === 'url'
}

function weightOf(value: ArgumentOrigin, elsewhere: boolean, thresholds: FollowedThresholds): number {
  if (isAddress(value)) return elsewhere ? thresholds.address_elsewhere : thresholds.address
  if (value.kind === 'text') return value.value.length < 4 ? 0 : thresholds.text
  return value.kind === 'id' ? thresholds.id : thresholds.number
}

function patternOf({ call, request, asked, spoken }: SuspectCall, share: number, thresholds: FollowedThresholds): Part {
  const names =
    [...kindsOfTool(call.tool_name)].some((kind) => request.kinds.has(kind)) &&
    namesThing(stemsOf(call.tool_name ?? ''), request.words)
  const given = asked.filter(({ origins, kind }) => kind !== 'number' && origins.some(({ where }) => where === 'user'))
  const less =
    (names ? thresholds.user_names_action : 0) +
    (thresholds.user_gives_values * given.length) / Math.max(1, asked.length) +
    (request.delegates === 'orders' ? thresholds.user_leaves_orders : 0) +
    (request.delegates === 'values' ? thresholds.user_leaves_values : 0)
  const event_id = spoken?.event_id
  return {
    weight: Math.max(0, 1 - less * share),
    signals: [
      { name: 'user_asks_for_such_an_action', value: names, expected: 'true', event_id },
      { name: 'arguments_given_by_user', value: given.length, expected: asked.length, event_id },
      { name: 'user_leaves_to_the_data', value: request.delegates, expected: 'values or orders', event_id },
    ],
  }
}
