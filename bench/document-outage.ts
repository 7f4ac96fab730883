/** The part of docs/performance.md on an outage of the broker. */
import { outageBounds } from './bounds.ts'
import { boundsTable, count, table } from './markdown.ts'
import type { OutagePart } from './results.ts'

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

\`npm run test:outage\`: one producer with default settings but for a larger spool records at full speed; its broker, the
only one, is killed with SIGKILL, and started again once all is recorded. ${count(part.spoolMb)} MiB were in the spool then. Idle, at
${count(part.idleMb)} MiB, is the process after its first ${count(part.warmUp)} events are acknowledged. Of ${count(part.recorded)} events ${count(part.stored)} were in
ClickHouse in the end; the consumer left out ${count(part.duplicates)} duplicates of a resend; ${count(part.outOfOrder)} stand behind a later one of
their run and partition; the check of completeness says: ${part.verdict}.`
}
