/** `npm run test:outage -- --events N`: the broker is down while that many events are recorded. */
import { parseArgs } from 'node:util'
import { kafkaAvailability } from '@agent-audit/stack'
import { runOutage } from './outage.ts'

/** What a producer may take during an outage, above what it takes idle, MiB. */
const MOST_ABOVE_IDLE_MB = 64

const { values } = parseArgs({ options: { events: { type: 'string' } } })
const events = Number(values.events ?? 3_600_000)
if (!(Number.isInteger(events) && events > 0)) {
  process.stderr.write('test:outage: expected --events N (3600000), a whole number\n')
  process.exit(2)
}
const kafka = kafkaAvailability()
if (!kafka.available) {
  process.stderr.write(`test:outage: ${kafka.reason}\n`)
  process.exit(3)
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const report = await runOutage({ before: 200_000, events, say })
const { idleMb, up, down, drained, stored, duplicates, outOfOrder, verdict } = report
const recorded = down.stats.recorded + 1
const aboveMb = Math.max(down.peakMb, drained.peakMb) - idleMb
say(`memory above idle: ${aboveMb.toFixed(0)} MiB (at most ${MOST_ABOVE_IDLE_MB})`)
say(`cost of a call: ${(down.callerUs / up.callerUs).toFixed(2)} times that with the broker`)
say(`${recorded} recorded, ${stored} stored, ${duplicates} duplicates left out, ${outOfOrder} out of order, ${verdict}`)
const kept = stored === recorded && outOfOrder === 0 && verdict === 'complete' && aboveMb <= MOST_ABOVE_IDLE_MB
say(kept ? 'kept' : 'NOT KEPT')
process.exit(kept ? 0 : 1)
