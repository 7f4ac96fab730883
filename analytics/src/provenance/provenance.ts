/**
 * Where the arguments of a tool call come from: each value with every earlier event that holds it. A value that no event holds
 * was made by the model: by its knowledge, by arithmetic, or by putting a text into other words, which cannot be told here.
 */
import { gramsOf } from './gram-sketch.ts'
import { heldTexts, leafPaths, type ProvenanceEvent, type Speaker } from './held-texts.ts'
import { foldText, keysIn, kindOf, squeezeText, type ValueKind } from './normal-form.ts'
import { PASSAGE_KEY, SearchedText, type Sought, TextBlock, type Value } from './searched-text.ts'

export { leafPaths, type ProvenanceEvent } from './held-texts.ts'
export { type InstructionMatch, instructionsIn } from './instructions.ts'

/** One value of a call, and where it was seen before. */
export interface ArgumentOrigin {
  /** JSON path in tool_input, such as `$.recipients[0]`. */
  readonly path: string
  /** As the call has it; of a longer text also each address, account, link and passage inside it, with the same path. */
  readonly value: string
  readonly kind: ValueKind
  /** In the order of `before`. Empty: no earlier event holds it. */
  readonly origins: readonly {
    readonly event_id: string
    readonly where: Speaker
    /** Of a tool's output. */
    readonly tool_name: string | null
  }[]
}

/** More values of one call are not traced. */
const MAX_VALUES = 500
/** A longer text is traced by its passages. */
const LONG_TEXT = 120
const MIN_PASSAGE = 16
const INSIDE: readonly ValueKind[] = ['email', 'iban', 'url']

/**
 * Traces every text and number of the call's tool_input.
 * @param before - Earlier events of the session, in any order. Their texts are read once, also over many calls.
 */
export function traceArguments(call: ProvenanceEvent, before: readonly ProvenanceEvent[]): ArgumentOrigin[] {
  const tracer = new ArgumentTracer()
  for (const event of before) if (event !== call) tracer.add(event)
  return tracer.trace(call)
}

/** Traces many calls of one session: the cost of one grows far slower than the texts before it. */
export class ArgumentTracer {
  readonly #blocks: TextBlock[] = []

  /** An event that is before the calls that are traced from now on. */
  add(event: ProvenanceEvent): void {
    for (const text of readTexts(event)) {
      if (this.#blocks.at(-1)?.add(text) === true) continue
      this.#blocks.push(new TextBlock(text))
    }
  }

  trace(call: ProvenanceEvent): ArgumentOrigin[] {
    return readValues(call).map((value) => ({
      path: value.path,
      value: value.value,
      kind: value.kind,
      origins: originsOf(this.#blocks.flatMap((block) => block.holding(value))),
    }))
  }
}

const VALUES = new WeakMap<ProvenanceEvent, readonly Sought[]>()

/** The values of a call, read once over many traces. */
function readValues(call: ProvenanceEvent): readonly Sought[] {
  const known = VALUES.get(call)
  if (known !== undefined) return known
  const values: Sought[] = []
  for (const value of valuesOf(call.tool_input)) {
    if (values.length === MAX_VALUES) break
    const folded = foldText(value.value).trim()
    const isText = value.kind === 'text' || value.kind === 'id'
    const squeezed = isText ? squeezeText(folded).slice(0, PASSAGE_KEY) : ''
    values.push({
      ...value,
      folded,
      squeezed,
      grams: gramsOf(squeezed),
      keys: wantedKeys(folded, value.kind),
    })
  }
  VALUES.set(call, values)
  return values
}

function* valuesOf(input: unknown): Generator<Value> {
  for (const { path, leaf } of leafPaths(input)) {
    const value = String(leaf)
    const folded = foldText(value)
    const kind = typeof leaf === 'number' ? 'number' : kindOf(folded)
    if (folded.trim() === '') continue
    if (kind !== 'text' || folded.length <= LONG_TEXT) yield { path, value, kind }
    if (kind !== 'text') continue
    for (const inner of INSIDE) {
      for (const key of new Set(keysIn(folded, inner))) {
        if (inner !== 'url' || kindOf(key) === 'url' || folded.includes(`://${key}`) || folded.includes(`www.${key}`))
          yield { path, value: key, kind: inner }
      }
    }
    if (folded.length <= LONG_TEXT && !value.includes('\n')) continue
    for (const passage of value.split(/\n|(?<=[.!?;]) /)) {
      if (passage.length >= MIN_PASSAGE) yield { path, value: passage.trim(), kind: 'text' }
    }
  }
}

/** A date with its time is also found as the date alone, or without its year. */
function wantedKeys(folded: string, kind: ValueKind): string[] {
  const keys = [...keysIn(folded, kind)]
  if (kind === 'number') return [String(Number(folded)), ...keys]
  return kind === 'date' ? [...keys, ...keys.map((key) => key.slice(key.indexOf('-'), 10))] : keys
}

const READ = new WeakMap<ProvenanceEvent, readonly SearchedText[]>()

function readTexts(event: ProvenanceEvent): readonly SearchedText[] {
  const texts = READ.get(event) ?? heldTexts(event).map(({ where, text }) => new SearchedText(event, where, text))
  READ.set(event, texts)
  return texts
}

function originsOf(found: readonly SearchedText[]): ArgumentOrigin['origins'] {
  // The model is given what a tool returned: the result itself is the origin, not the message that repeats it.
  const returned = found.some(({ event }) => event.event_type === 'tool_result')
  const seen = new Set<string>()
  return found
    .filter(({ event, where }) => where !== 'tool_output' || event.event_type === 'tool_result' || !returned)
    .filter(({ event, where }) => !seen.has(`${event.event_id} ${where}`) && seen.add(`${event.event_id} ${where}`))
    .map(({ event, where }) => ({
      event_id: event.event_id,
      where,
      tool_name: where === 'tool_output' ? event.tool_name : null,
    }))
}
