/** The latency part of docs/performance.md. */
import { latencyBounds } from './bounds.ts'
import { boundsTable, count, spread, table } from './markdown.ts'
import type { LatencyPart } from './results.ts'

export function describeLatency({ settings, rounds }: LatencyPart): string {
  const { eventsPerSecond, seconds, warmUpSeconds, partitions } = settings
  const row = [
    count(rounds[0]?.events ?? 0),
    spread(rounds.map(({ p50Ms }) => p50Ms)),
    spread(rounds.map(({ p99Ms }) => p99Ms)),
    spread(rounds.map(({ maxMs }) => maxMs)),
    spread(rounds.map(({ pollGapMs }) => pollGapMs)),
  ]
  return `## Latency: from \`record()\` to a query

${table(['events a round', 'p50 ms', 'p99 ms', 'longest ms', 'gap between polls, p99 ms'], [row])}

${boundsTable(latencyBounds({ settings, rounds }))}

One producer records ${count(eventsPerSecond)} events a second for ${warmUpSeconds + seconds} s, of which the first
${warmUpSeconds} s do not count; producer and consumer have their default settings, the topic ${partitions} partitions, as
\`agent-audit setup\` makes it. An event's timestamp is the clock at \`record()\`; it counts as queryable when the answer to
a query of the highest offset of each partition has covered it. The query is asked again and again, so a latency is
overstated by at most the gap between two answers; all processes share one clock.`
}
