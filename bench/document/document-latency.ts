/** The section of docs/performance.md about latency. */
import { latencyBounds } from './bounds.ts'
import { boundsTable, count, spread, table } from './markdown.ts'
import type { LatencyPart } from '../support/results.ts'

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

One producer records ${count(eventsPerSecond)} events a second for ${warmUpSeconds + seconds} s; the first
${warmUpSeconds} s do not count. Producer and consumer have their default settings; the topic has ${partitions} partitions, as
\`agent-audit setup\` makes it. An event's timestamp is the clock at \`record()\`. The benchmark asks repeatedly for the
highest offset of each partition, and an event counts as queryable with the first answer that covers its offset: this
overstates a latency by at most the gap between two answers. All processes share one clock.`
}
