/** The producer's part of docs/performance.md. */
import { producerBounds } from './bounds.ts'
import { boundsTable, spread, table } from './markdown.ts'
import type { ProducerPart } from './results.ts'

const SEPARATOR = '|'

export function describeProducer(part: ProducerPart): string {
  const cases = new Map(
    part.rounds.map(({ size, contender }) => [`${size}${SEPARATOR}${contender}`, { size, contender }]),
  )
  const rows = [...cases.values()].map(({ size, contender }) => {
    const rounds = part.rounds.filter((round) => round.size === size && round.contender === contender)
    return [
      size,
      contender,
      String(rounds[0]?.valueBytes ?? ''),
      spread(rounds.map((round) => round.eventsPerSecond)),
      spread(rounds.map((round) => round.threadCpuUsPerEvent)),
      spread(rounds.map((round) => round.processCpuUsPerEvent)),
      spread(rounds.map((round) => round.peakRssMb)),
    ]
  })
  const columns = ['event', 'producer', 'bytes of a value', 'events/s', "CPU us/event, caller's thread"]
  return `## Producer: from one process into Kafka
${table([...columns, 'CPU us/event, process', 'peak RSS MB'], rows)}

${boundsTable(producerBounds(part))}

- Events/s: from the first \`record()\` until the last event is acknowledged by the broker, whatever the durability.
- CPU of the caller's thread: all user and system time of the thread that calls \`record()\`, over the whole of recording
  and flush, deferred work included, less what the thread takes in as long a time with nothing to record.
- ours: ${text(part.settings['ours'])}. Spools lie on the disk of the temporary directory, fsync off (the default).
- kafkajs: ${text(part.settings['kafkajs'])}.
- Topic: ${text(part.settings['topic'])}. Before each measurement: ${text(part.settings['warmUp'])}. Real size mix:
  ${text(part.settings['sizeMix'])} sessions.`
}

function text(setting: unknown): string {
  return typeof setting === 'string' ? setting : JSON.stringify(setting)
}
