/**
 * Records under load until it is killed. Prints `run <run_id>` when it begins, and `stored <n>` as soon as the first n
 * decisions of its session are stored.
 */
import { createAuditTrail } from '@agent-audit/producer'
import type { ProducerOrder } from './rounds.ts'
import { printLine } from '../support/print-line.ts'

const { sessionId, spoolDir, dataDir, offline, fsync, burst, bytes } = JSON.parse(
  process.argv[2] ?? '',
) as ProducerOrder
const trail = createAuditTrail({
  agentId: 'killed',
  spoolDir,
  fsync,
  // No broker listens there: events stay in the spool.
  ...(offline ? { brokers: ['127.0.0.1:1'] } : { dataDir }),
  onProblem: () => {},
})
printLine(`run ${trail.runId}`)
const session = trail.startSession({ session_id: sessionId })
for (let count = 0; ;) {
  const receipts = Array.from({ length: burst }, () =>
    session.decision({ reasoning: `${count++} ${'x'.repeat(bytes)}` }),
  )
  await Promise.all(receipts.map(({ stored }) => stored))
  printLine(`stored ${count}`)
}
