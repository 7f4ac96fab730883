/**
 * Sessions to record: the producer benchmark records them in a trail, the consumer benchmark encodes them. A script is built
 * once and played many times, so that making the input costs the measurement nothing.
 */
import type { EventInput, LlmCall, SessionStart } from '@agent-audit/schemas'

/** The events of one session, from its start to its end; the player records the end itself. */
export interface SessionScript {
  readonly start: SessionStart
  readonly events: readonly EventInput[]
}

/** Seeded: the same numbers in every run. mulberry32. */
export function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const SYLLABLES = 'ti on re ser va con fir pas sen ger flight ba gage pay ment re fund can cel up grade mem ber ca bin'
const WORDS = makeWords(800, createRandom(7))

function makeWords(count: number, random: () => number): string[] {
  const syllables = SYLLABLES.split(' ')
  const pick = (): string => syllables[Math.floor(random() * syllables.length)] ?? ''
  return Array.from({ length: count }, () => Array.from({ length: 1 + Math.floor(random() * 3) }, pick).join(''))
}

/** Text of exactly `length` ASCII characters: words, frequent ones more often, and some numbers. */
export function makeText(length: number, random: () => number): string {
  let text = ''
  while (text.length < length) {
    const word = WORDS[Math.floor(random() ** 2 * WORDS.length)] ?? ''
    text += random() < 0.08 ? `${Math.floor(random() * 1e6)} ` : `${word} `
  }
  return text.slice(0, length)
}

/** Steps of a generated session: model call, tool call, its result. */
const STEPS = 6

/**
 * Generated sessions of 1 + 3 x steps events.
 * @param textBytes - Called for each event; returns the bytes of its text.
 */
export function makeSessions(count: number, textBytes: () => number, seed: number, steps = STEPS): SessionScript[] {
  const random = createRandom(seed)
  const text = (): string => makeText(Math.max(1, Math.round(textBytes())), random)
  return Array.from({ length: count }, () => makeSession(text, steps))
}

function makeSession(text: () => string, steps: number): SessionScript {
  const messages: unknown[] = []
  const events: EventInput[] = []
  const start = { user_id: 'user-4711', user_message: text() }
  for (let step = 0; step < steps; step++) {
    const asked = text()
    messages.push(asked.slice(0, asked.length / 2))
    const usage = { input_tokens: 900 + step * 40, output_tokens: 30 + step, latency_ms: 400 + step * 31 }
    events.push(
      { event_type: 'llm_call', input_messages: [...messages], output_text: asked.slice(asked.length / 2), ...usage },
      { event_type: 'tool_call', tool_name: 'lookup', tool_call_id: `call_${step}`, tool_input: { query: text() } },
      {
        event_type: 'tool_result',
        tool_name: 'lookup',
        tool_call_id: `call_${step}`,
        tool_output: text(),
        execution_time_ms: 12 + step,
      },
    )
  }
  return { start, events }
}

/** Bytes of text that make the record of a generated event about 0.3 KB. */
const SMALL_TEXT_BYTES = 12

/** Sessions whose records are about 0.3 KB. */
export const SMALL_SESSIONS: readonly SessionScript[] = makeSessions(40, () => SMALL_TEXT_BYTES, 17)

/** Messages of a model call that the call before it in the session did not have: the messages that a record holds by default. */
export function newMessages(call: LlmCall, previous: LlmCall | undefined): readonly unknown[] {
  return call.input_messages.slice(previous?.input_messages.length ?? 0)
}
