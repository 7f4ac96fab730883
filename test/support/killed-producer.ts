/** Records on a real Kafka until it is killed. Prints its run_id, and `stored <n>` as soon as n events are on its disk. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createAuditTrail } from '@agent-audit/producer'
import { printLine } from './print-line.ts'

interface Order {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly spoolDir: string
  /** The pause after each event. */
  readonly everyMs?: number
}

const { brokers, topic, spoolDir, everyMs } = JSON.parse(process.argv[2] ?? '') as Order
const trail = createAuditTrail({ agentId: 'killed', brokers, topic, spoolDir, onProblem: () => {} })
printLine(`run ${trail.runId}`)
const session = trail.startSession({ session_id: 'session of the killed' })
for (let count = 0; ;) {
  await session.decision({ reasoning: `killed ${count++}` }).stored
  printLine(`stored ${count}`)
  if (everyMs !== undefined) await sleep(everyMs)
}
