/** Writes docs/performance.md from the newest results; the file is never edited by hand. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describeCompleteness } from './document-completeness.ts'
import { describeConsumer } from './document-consumer.ts'
import { describeDetect } from './document-detect.ts'
import { describeEveryday } from './document-everyday.ts'
import { describeIntegrity } from './document-integrity.ts'
import { describeLatency } from './document-latency.ts'
import { describeOutage } from './document-outage.ts'
import { describeProducer } from './document-producer.ts'
import { describeQueries } from './document-queries.ts'
import { describeScale } from './document-scale.ts'
import type { Environment } from '../support/environment.ts'
import { writeGrowthPlot } from './growth-plot.ts'
import { newest, type Results } from '../support/results.ts'

const FILE = fileURLToPath(new URL('../../docs/performance.md', import.meta.url))
const FORMATTER = fileURLToPath(new URL('../../node_modules/.bin/oxfmt', import.meta.url))

const HEAD = `# Performance

<!-- Written by \`npm run bench\` from the newest files in bench/results. Do not edit. -->

\`npm run bench\` measures the consumer, \`npm run bench:producer\` the producer, beside the alternatives, on a real Kafka and
a real ClickHouse. Kafka, ClickHouse and the measured process share one machine, so the ratios within a run say more than the
absolute figures. Contenders take turns; each figure is the median of the rounds, with the range in brackets.
AUDIT_SESSIONS_FILE names recorded sessions for the real size mix; without it, generated sessions of the same sizes are used.`

export function writeDocument(): void {
  const consumer = newest('consumer')
  const latency = newest('latency')
  const everyday = newest('everyday')
  const producer = newest('producer')
  const completeness = newest('completeness')
  const outage = newest('outage')
  const scale = newest('scale')
  const queries = newest('queries')
  if (queries !== undefined) writeGrowthPlot(queries.part)
  const detect = newest('detect')
  const integrity = newest('integrity')
  const parts = [
    HEAD,
    ...(consumer === undefined ? [] : [describeConsumer(consumer.part), origin(consumer)]),
    ...(latency === undefined ? [] : [describeLatency(latency.part), origin(latency)]),
    ...(everyday === undefined ? [] : [describeEveryday(everyday.part), origin(everyday)]),
    ...(producer === undefined ? [] : [describeProducer(producer.part), origin(producer)]),
    ...(outage === undefined ? [] : [describeOutage(outage.part), origin(outage)]),
    ...(completeness === undefined ? [] : [describeCompleteness(completeness.part), origin(completeness)]),
    ...(scale === undefined ? [] : [describeScale(scale.part), origin(scale)]),
    ...(queries === undefined ? [] : [describeQueries(queries.part), origin(queries)]),
    ...(detect === undefined ? [] : [describeDetect(detect.part), origin(detect)]),
    ...(integrity === undefined ? [] : [describeIntegrity(integrity.part), origin(integrity)]),
  ]
  writeFileSync(FILE, `${parts.join('\n\n')}\n`)
  execFileSync(FORMATTER, [FILE], { stdio: 'ignore' })
}

function origin({ file, results }: { file: string; results: Results }): string {
  const day = results.startedAt.slice(0, 10)
  return `Measured ${day}: ${describeMachine(results.environment)}. Every round: [${file}](../${file}).`
}

function describeMachine({ machine, versions }: Environment): string {
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GiB, Linux ${machine.kernel}, load average ${machine.loadAverage} at the start; ${names.join(', ')}`
}
