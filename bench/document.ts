/** Writes docs/performance.md from the newest results: never edited by hand. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Bound, consumerBounds, producerBounds } from './bounds.ts'
import type { Environment } from './environment.ts'
import { type ConsumerPart, median, newestWith, type ProducerPart, type Results } from './results.ts'

const FILE = new URL('../docs/performance.md', import.meta.url)
const SEPARATOR = '|'

export function writeDocument(): void {
  const consumer = newestWith('consumer')
  const producer = newestWith('producer')
  const parts = [
    HEAD,
    ...(consumer?.results.consumer === undefined
      ? []
      : [describeConsumer(consumer.results.consumer), origin(consumer.file, consumer.results)]),
    ...(producer?.results.producer === undefined
      ? []
      : [describeProducer(producer.results.producer), origin(producer.file, producer.results)]),
  ]
  mkdirSync(fileURLToPath(new URL('.', FILE)), { recursive: true })
  writeFileSync(FILE, `${parts.join('\n\n')}\n`)
}

const HEAD = `# Performance
<!-- Written by \`npm run bench\` from the newest files in bench/results. Do not edit. -->

\`npm run bench\` measures the consumer and the producer beside what one would write first, on a real Kafka and a real
ClickHouse. Kafka, ClickHouse and the process under measurement share one machine, so the ratios within a run say more
than the absolute figures. Contenders take turns; each figure is the median of the rounds, and the range is in brackets.
AUDIT_SESSIONS_FILE names recorded sessions for the real size mix; without it, made-up ones of the same sizes are used.`

function describeConsumer(part: ConsumerPart): string {
  const rows = part.backlogs.flatMap(({ name, events, recordBytes }) =>
    (['ours', 'obvious'] as const).map((contender) => {
      const rounds = part.rounds.filter((round) => round.backlog === name && round.contender === contender)
      return [
        `${count(events)} of ${name} (mean ${recordBytes} B)`,
        contender,
        spread(rounds.map((round) => round.eventsPerSecond)),
        spread(rounds.map((round) => round.cpuUsPerEvent)),
        spread(rounds.map((round) => round.peakRssMb)),
        spread(rounds.map((round) => round.secondsFromSpawn)),
      ]
    }),
  )
  const sources = part.backlogs.map(({ name, source }) => `${name}: ${source}`).join('; ')
  return `## Consumer: from a Kafka backlog into ClickHouse
${table(['backlog', 'consumer', 'events/s', 'node CPU us/event', 'peak RSS MB', 'seconds from start of the process'], rows)}

${boundsTable(consumerBounds(part))}

- **ours**: \`npm run consumer\` with its default settings, exactly once. After each round the table held every event
  once: as many rows as events, as many distinct (run_id, run_seq), as many distinct offsets.
- **obvious** (bench/obvious-consumer.ts): eachBatch of kafkajs, avsc decodes each message to an object, JSONEachRow by
  @clickhouse/client, commit after the insert; at least once. Into a twin of the table: same columns, codecs, order,
  indexes, projection and fsync; without its constraints, digests and run id as hex, since JSON carries no bytes.
  ${sentence(part.settings['obvious'])}
- Events/s and CPU count from the first claimed partition to the last row, seen by polling the row count every 25 ms; CPU
  is user and system time of the consumer's process, all of its threads. The last column counts from the start of the
  process: Node's own start, connecting, joining the group.
- The log: ${text(part.settings['log'])}. Sessions: ${sources}. Every measurement begins with empty tables
  and a new group at the start of the same log.`
}

function describeProducer(part: ProducerPart): string {
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

function boundsTable(bounds: readonly Bound[]): string {
  const rows = bounds.map(({ what, wanted, measured, met }) => [what, wanted, measured, met ? 'met' : '**missed**'])
  return table(['bound', 'wanted', 'measured', ''], rows)
}

function origin(file: string, { startedAt, environment }: Results): string {
  return `Measured ${startedAt.slice(0, 10)}: ${describeMachine(environment)}. Every round: [${file}](../${file}).`
}

function describeMachine({ machine, versions }: Environment): string {
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GiB, Linux ${machine.kernel}; ${names.join(', ')}`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** `median (lowest to highest)`. */
function spread(values: readonly number[]): string {
  const middle = count(median(values))
  return values.length < 2 ? middle : `${middle} (${count(Math.min(...values))} to ${count(Math.max(...values))})`
}

function count(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 2 })
}

function text(setting: unknown): string {
  return typeof setting === 'string' ? setting : JSON.stringify(setting)
}

function sentence(setting: unknown): string {
  const said = text(setting)
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}.`
}
