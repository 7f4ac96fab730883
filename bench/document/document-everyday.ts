/** The section of docs/performance.md about ordinary rates. */
import { everydayBounds } from './bounds.ts'
import { boundsTable, count, spread, table } from './markdown.ts'
import type { EverydayPart, EverydayRound } from '../support/results.ts'

export function describeEveryday({ settings, rounds }: EverydayPart): string {
  const { seconds, warmUpSeconds, sessions } = settings
  const loads = rounds.filter(({ round }) => round === 1)
  const rows = loads.map(({ eventsPerSecond, partitions }) => {
    const own = rounds.filter((round) => round.eventsPerSecond === eventsPerSecond && round.partitions === partitions)
    const of = (value: (round: EverydayRound) => number | undefined): string =>
      own.every((round) => value(round) === undefined) ? '' : spread(own.map((round) => value(round) ?? Number.NaN))
    return [
      eventsPerSecond === 0 ? 'idle' : count(eventsPerSecond),
      String(partitions),
      of(({ cores }) => cores.node),
      of(({ cores }) => cores.clickhouse),
      of(({ baseCores }) => baseCores.clickhouse),
      of(({ cores }) => cores.kafka),
      of(({ insertsPerSecond }) => insertsPerSecond),
      of(({ partsPerSecond }) => partsPerSecond),
      of(({ latency }) => latency?.p50Ms),
      of(({ latency }) => latency?.p99Ms),
    ]
  })
  const head = ['events/s', 'partitions', 'node', 'ClickHouse', 'ClickHouse before', 'Kafka']
  return `## Everyday rates: few events, many partitions

${table([...head, 'inserts/s', 'parts/s', 'p50 ms', 'p99 ms'], rows)}

${boundsTable(everydayBounds({ settings, rounds }))}

CPU is in cores: seconds of CPU a second, of each process by itself; "ClickHouse before" is the server without a consumer, just
before. One producer records at an even rate in ${sessions} sessions side by side; the first ${warmUpSeconds} s do not count.
CPU is measured for ${seconds} s in which the benchmark asks ClickHouse nothing, the time from \`record()\` to a query in the
${seconds} s after that; of an idle consumer for three times as long. Producer and consumer have their default settings.`
}
