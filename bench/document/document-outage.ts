/** The section of docs/performance.md about an outage of the broker. */
import { outageBounds } from './bounds.ts'
import { boundsTable, count, table } from './markdown.ts'
import type { OutagePart } from '../support/results.ts'

export function describeOutage(part: OutagePart): string {
  const rows = part.phases.map(({ phase, events, seconds, callerUs, peakRssMb }) => [
    phase,
    count(events),
    count(seconds),
    count(events / seconds),
    callerUs === undefined ? '-' : count(callerUs),
    count(peakRssMb),
  ])
  return `## Producer: the broker is down

${table(['', 'events', 'seconds', 'events/s', "CPU us/event, caller's thread", 'peak RSS MiB'], rows)}

${boundsTable(outageBounds(part))}

\`npm run test:outage\`: one producer with default settings but for a larger spool records at full speed. Its only broker is
killed with SIGKILL, and started again when all events are recorded; the spool then held ${count(part.spoolMb)} MiB. Idle means the
process after its first ${count(part.warmUp)} events are acknowledged: ${count(part.idleMb)} MiB. Of ${count(part.recorded)} events ${count(part.stored)} were in ClickHouse
at the end; the consumer dropped ${count(part.duplicates)} duplicates of a resend; ${count(part.outOfOrder)} follow a later event of their run and
partition; the check of completeness says: ${part.verdict}.`
}
