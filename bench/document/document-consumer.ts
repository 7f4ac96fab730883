/** The consumer's section of docs/performance.md. */
import { consumerBounds } from './bounds.ts'
import { boundsTable, count, spread, table } from './markdown.ts'
import { CONSUMER_NAMES, type ConsumerPart, type ConsumerRound } from '../support/results.ts'

const COLUMNS = [
  'backlog',
  'consumer',
  'events/s',
  'node CPU us/event',
  'ClickHouse CPU us/event',
  'peak RSS MB',
  'commits a batch',
  'seconds from its start',
]

export function describeConsumer(part: ConsumerPart): string {
  const { settings } = part
  const sources = part.backlogs.map(({ name, source }) => `${name}: ${source}`).join('; ')
  return `## Consumer: from a Kafka backlog into ClickHouse

${table(COLUMNS, rowsOf(part))}

${boundsTable(consumerBounds(part))}

- **ours**: \`npm run consumer\` with its default settings, exactly once. After each round the table held every event
  once: as many rows as events, as many distinct (run_id, run_seq), as many distinct offsets.
- **obvious** (bench/consumer/obvious-consumer.ts): eachBatch of kafkajs, avsc decodes each message to an object, JSONEachRow by
  @clickhouse/client, commit after the insert; at least once. Kafka: ${settings.obvious}.
- **Kafka engine** (bench/consumer/kafka-engine.ts): a table of ClickHouse's Kafka engine and a materialized view; at least once.
  The same records in the Confluent wire format, ${settings.engine}. Its CPU is ClickHouse's.
- obvious and engine write into twins of our table: same columns, codecs, order, indexes, projection and fsync, without
  its constraints; the table of the obvious consumer holds bytes as hex, since JSON cannot carry bytes.
- Events/s and CPU count from the first claimed partition to the last row; the benchmark polls the row count every 25 ms. Node
  CPU is user and system time of the consumer's process, ClickHouse CPU that of the server, merges and polling included.
  The last column counts from the start of the process (of the view, for the engine).
- The topic: ${settings.log}. Sessions: ${sources}. Every measurement begins with empty tables and a new group at the start
  of the same topic.`
}

function rowsOf(part: ConsumerPart): string[][] {
  return part.backlogs.flatMap(({ name, events, recordBytes }) =>
    CONSUMER_NAMES.map((contender) => {
      const rounds = part.rounds.filter((round) => round.backlog === name && round.contender === contender)
      const of = (value: (round: ConsumerRound) => number | undefined): string => spread(rounds.map(value))
      return [
        `${count(events)} of ${name} (mean ${recordBytes} B)`,
        contender,
        of(({ eventsPerSecond }) => eventsPerSecond),
        of(({ node }) => node?.cpuUsPerEvent),
        of(({ clickhouseCpuUsPerEvent }) => clickhouseCpuUsPerEvent),
        of(({ node }) => node?.peakRssMb),
        of(({ commits }) => commits && commits.sent / commits.batches),
        of(({ secondsFromSpawn }) => secondsFromSpawn),
      ]
    }),
  )
}
