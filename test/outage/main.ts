/**
 * `npm run test:outage -- [--events N] [--save]`: the broker is down while that many events are recorded. With --save the
 * figures go to bench/results and docs/performance.md.
 */
import { parseArgs } from 'node:util'
import { chooseServers, kafkaAvailability } from '@agent-audit/stack'
import { outageBounds } from '../../bench/document/bounds.ts'
import { writeDocument } from '../../bench/document/document.ts'
import { describeEnvironment } from '../../bench/support/environment.ts'
import { type OutagePart, rounded, saveResults } from '../../bench/support/results.ts'
import { type OutageReport, type PhaseFigures, runOutage } from './outage.ts'

const { values } = parseArgs({ options: { events: { type: 'string' }, save: { type: 'boolean' } } })
const events = Number(values.events ?? 3_600_000)
const before = 200_000
if (!(Number.isInteger(events) && events > 0)) {
  process.stderr.write('test:outage: expected --events N (3600000), a whole number\n')
  process.exit(2)
}
// The figures are of a Kafka without Docker.
process.env['AUDIT_SERVERS'] ??= 'local'
await chooseServers(['kafka'])
const kafka = kafkaAvailability()
if (!kafka.available) {
  process.stderr.write(`test:outage: ${kafka.reason}\n`)
  process.exit(3)
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const startedAt = new Date().toISOString()
const report = await runOutage({ before, events, say })
const part = toPart(report)
const bounds = outageBounds(part)
for (const { what, wanted, measured, met } of bounds) say(`${what}: ${measured} (${wanted})${met ? '' : ', MISSED'}`)
say(`cost of a call: ${(report.down.callerUs / report.up.callerUs).toFixed(2)} times that with the broker`)
say(`${part.recorded} recorded, ${part.stored} stored, ${part.duplicates} duplicates left out, ${part.verdict}`)
if (values.save === true) {
  const environment = describeEnvironment({ clickhouse: report.clickhouse, kafkaAttached: false })
  say(`saved ${saveResults({ startedAt, environment, outage: part })}`)
  writeDocument()
}
const kept = part.verdict === 'complete' && bounds.every(({ met }) => met)
say(kept ? 'all bounds are met' : 'FAILED: events are missing or a bound is missed')
process.exit(kept ? 0 : 1)

function toPart({ up, down, drained, ...rest }: OutageReport): OutagePart {
  const { warmUp, stored, duplicates, outOfOrder, verdict } = rest
  return {
    warmUp,
    idleMb: rounded(rest.idleMb),
    phases: [
      { phase: 'broker up', events: before, callerUs: rounded(up.callerUs, 2), ...timeAndMemory(up) },
      { phase: 'broker down', events, callerUs: rounded(down.callerUs, 2), ...timeAndMemory(down) },
      { phase: 'broker back, draining', events, ...timeAndMemory(drained) },
    ],
    spoolMb: rounded(down.stats.spoolBytes / 2 ** 20),
    // trail_stopped is recorded later.
    recorded: down.stats.recorded + 1,
    stored,
    duplicates,
    outOfOrder,
    verdict,
  }
}

function timeAndMemory({ seconds, peakMb }: PhaseFigures): { seconds: number; peakRssMb: number } {
  return { seconds: rounded(seconds, 1), peakRssMb: rounded(peakMb) }
}
