/** What the agent had read before an action, and which of its arguments came from there. */
import { type ArgumentOrigin, instructionsIn, type ProvenanceEvent, traceArguments } from '../provenance/provenance.ts'
import type { TrailEvent } from '../queries/session-trail.ts'
import type { DataRead, EventRef, Verdict } from './answer.ts'
import { memberOf, refOf, textIn } from './fields.ts'

const MOST_SOURCES = 100
const MOST_INSTRUCTIONS = 20

type Source = DataRead['sources'][number]

/** @param before - The events before the action, in their order. */
export function describeData(action: TrailEvent, before: readonly (ProvenanceEvent & EventRef)[]): DataRead {
  const traced = traceArguments(action, before)
  const trusted = new Set(
    before.filter(({ content }) => memberOf(content, 'untrusted') === false).map((event) => event.event_id),
  )
  const gave = new Map<string, Set<string>>()
  for (const { path, origins } of traced) {
    for (const { event_id, where } of origins) {
      if (where === 'tool_output') gave.set(event_id, (gave.get(event_id) ?? new Set()).add(path))
    }
  }
  const sources = before
    .filter((event) => isSource(event) || gave.has(event.event_id))
    .map((event) => sourceOf(event, gave))
  return {
    sources: sources.toSorted((one, other) => weight(other) - weight(one)).slice(0, MOST_SOURCES),
    sources_total: sources.length,
    arguments: traced.map((argument) => ({ ...argument, verdict: verdictOf(argument, trusted) })),
  }
}

function isSource({ tool_output, content }: ProvenanceEvent): boolean {
  return tool_output !== null || memberOf(content, 'untrusted') === true
}

function sourceOf(event: ProvenanceEvent & EventRef, gave: ReadonlyMap<string, ReadonlySet<string>>): Source {
  const untrusted = memberOf(event.content, 'untrusted')
  const text = event.tool_output ?? ''
  return {
    ...refOf(event),
    source: textIn(event.content, 'source'),
    untrusted: typeof untrusted === 'boolean' ? untrusted : null,
    characters: text.length,
    gave: [...(gave.get(event.event_id) ?? [])],
    instructions: untrusted === false ? [] : instructionsIn(text).slice(0, MOST_INSTRUCTIONS),
  }
}

/** What gave arguments first, above all where it also looks like orders. The order of time stays among equals. */
function weight({ gave, instructions }: Source): number {
  return (gave.length > 0 ? 2 : 0) + (instructions.length > 0 ? 1 : 0)
}

function verdictOf({ origins }: ArgumentOrigin, trusted: ReadonlySet<string>): Verdict {
  if (origins.some(({ where }) => where === 'user' || where === 'system_prompt')) return 'person_or_prompt'
  const returned = origins.filter(({ where }) => where === 'tool_output')
  if (returned.length === 0) return 'model_only'
  return returned.some(({ event_id }) => trusted.has(event_id)) ? 'trusted_tool' : 'untrusted'
}
