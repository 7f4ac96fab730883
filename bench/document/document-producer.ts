/** The producer's section of docs/performance.md. */
import { producerBounds } from './bounds.ts'
import { boundsTable, count, spread, table } from './markdown.ts'
import type { ProducerPart, ProducerRound } from '../support/results.ts'

const COLUMNS = [
  'event',
  'recorder',
  'bytes of a value',
  'events/s',
  "CPU us/event, caller's thread",
  'CPU us/event, process',
  'peak RSS MB',
]

export function describeProducer(part: ProducerPart): string {
  const { partitions, stallEventsPerSecond, sizeMix } = part.settings
  return `## Producer: from one process into Kafka

${table(COLUMNS, costRows(part))}

${table(['at an even rate', 'event loop blocked, longest ms', '99.9 % of stretches, ms'], stallRows(part))}

${boundsTable(producerBounds(part))}

- Events/s: from the first \`record()\` until the broker acknowledges the last event, with any durability; for SQLite until
  it is committed, for OpenTelemetry until the exporter receives it.
- CPU of the caller's thread: all user and system time of the thread that calls \`record()\`, over the whole of recording
  and flush, deferred work included, less the thread's time over an equal period without recording.
- **ours, disk** and **ours, broker**: defaults of \`createAuditTrail\` (redact: 'secrets') but for the durability; **no
  redaction**: redact: 'off'. A system prompt hash and a
  model id on every event; sessions of some 20 events. Spools lie on the disk of the temporary directory, fsync off (the
  default).
- **kafkajs**, **@platformatic/kafka** (bench/producer/recorders/kafka-clients.ts): the event as JSON, acks of all replicas; zstd
  where 1000 events go in one send. **SQLite**: opened, inserted into and closed for each event, with default
  settings. **OpenTelemetry**: one span for each event with its fields as attributes, BatchSpanProcessor with its defaults, an
  exporter that does nothing; a full queue drops spans.
- Event loop: ${count(stallEventsPerSecond)} events of 0.3 KB a second, Node's monitorEventLoopDelay with a resolution of
  1 ms, in the recording thread.
- Topic: ${partitions} partitions, one broker. Before each measurement a tenth of the events is recorded and acknowledged.
  Real size mix: ${sizeMix} sessions.`
}

function costRows({ rounds }: ProducerPart): string[][] {
  const cases = new Map(rounds.map(({ size, contender }) => [`${size}, ${contender}`, { size, contender }]))
  return [...cases.values()].map(({ size, contender }) => {
    const own = rounds.filter((round) => round.size === size && round.contender === contender)
    const of = (value: (round: ProducerRound) => number): string => spread(own.map(value))
    return [
      size,
      contender,
      String(own[0]?.valueBytes ?? ''),
      of(({ eventsPerSecond }) => eventsPerSecond),
      of(({ threadCpuUsPerEvent }) => threadCpuUsPerEvent),
      of(({ processCpuUsPerEvent }) => processCpuUsPerEvent),
      of(({ peakRssMb }) => peakRssMb),
    ]
  })
}

function stallRows({ stalls }: ProducerPart): string[][] {
  return [...new Set(stalls.map(({ contender }) => contender))].map((contender) => {
    const own = stalls.filter((round) => round.contender === contender)
    return [contender, spread(own.map(({ longestMs }) => longestMs)), spread(own.map(({ p999Ms }) => p999Ms))]
  })
}
