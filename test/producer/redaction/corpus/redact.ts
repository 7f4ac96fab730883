/** What the producer records of texts. */
import { createTestTrail } from '@agent-audit/producer/testing'

export interface Recorded {
  readonly text: string
  /** By rule. */
  readonly hits: Readonly<Record<string, number>>
}

/** Each text as a field of text, recorded by itself. */
export function redactTexts(texts: readonly string[]): Recorded[] {
  const trail = createTestTrail()
  const session = trail.startSession()
  for (const text of texts) session.decision({ reasoning: text })
  return trail.events({ event_type: 'decision' }).map(({ reasoning, field_notes: notes }) => {
    const noted = notes as { reasoning?: { redacted?: Record<string, number> } } | null | undefined
    return { text: reasoning ?? '', hits: noted?.reasoning?.redacted ?? {} }
  })
}

/** Each text within an object, recorded by itself: as JSON. */
export function redactInJson(texts: readonly string[]): string[] {
  const trail = createTestTrail()
  const session = trail.startSession()
  for (const text of texts) session.toolCall({ tool_name: 't', tool_input: { a: [text] } })
  return trail.events({ event_type: 'tool_call' }).map(({ tool_input: input }) => (input as { a: [string] }).a[0])
}
