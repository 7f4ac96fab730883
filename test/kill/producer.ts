/**
 * Records under load until it is killed. Says `run <run_id>` when it has begun, and `stored <n>` once the first n
 * decisions of its session are stored, each as soon as it is so.
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
  // Nothing listens there: events stay in the spool.
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
