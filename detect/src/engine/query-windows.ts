/** The windows that query detectors look at: which agents, from which hour on. */
import { inChunks } from '@agent-audit/schemas'
import type { QueryWindow } from '../detector.ts'
import type { TouchedAgent } from './touched.ts'

const HOUR_MS = 3_600_000
/** An agent whose spool came late has a window of its own: the others need not be read so far back. */
const LATE_MS = 48 * HOUR_MS
/** A producer's clock may be fast; one that is further ahead is wrong. */
const MOST_AHEAD_MS = 24 * HOUR_MS
/** A list is a parameter of a query, of at most 128 KiB. */
const LIMITS = { elements: 1000, size: 30_000, sizeOf: ({ agent_id: { length } }: TouchedAgent): number => length }

export function windowsOf(agents: readonly TouchedAgent[], now: number): QueryWindow[] {
  const latest = agents.reduce((greatest, { last }) => Math.max(greatest, last), 0)
  const until = new Date(Math.max(now, Math.min(latest, now + MOST_AHEAD_MS)) + 1)
  const groups = Map.groupBy(agents, ({ first }) => now - first > LATE_MS)
  return [...groups.values()].flatMap((group) =>
    inChunks(group, LIMITS).map((chunk) => {
      const first = chunk.reduce((least, agent) => Math.min(least, agent.first), now)
      return {
        agents: chunk.map(({ agent_id }) => agent_id),
        since: new Date(Math.floor(first / HOUR_MS) * HOUR_MS),
        until,
      }
    }),
  )
}
