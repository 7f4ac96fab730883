/** Records on a real Kafka until it is killed. Prints its run_id, and `stored <n>` as soon as n events are on its disk. */
import { createAuditTrail } from '@agent-audit/producer'
import { printLine } from './print-line.ts'

interface Order {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly spoolDir: string
}

const { brokers, topic, spoolDir } = JSON.parse(process.argv[2] ?? '') as Order
const trail = createAuditTrail({ agentId: 'killed', brokers, topic, spoolDir, onProblem: () => {} })
printLine(`run ${trail.runId}`)
const session = trail.startSession({ session_id: 'session of the killed' })
for (let count = 0; ;) {
  await session.decision({ reasoning: `killed ${count++}` }).stored
  printLine(`stored ${count}`)
}
