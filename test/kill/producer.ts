/**
 * Records under load until it is killed. Says `run <run_id>` when it has begun, and `stored <n>` once the first n
 * decisions of its session are stored, each as soon as it is so.
 */
import { writeSync } from 'node:fs'
import { createAuditTrail } from '@agent-audit/producer'
import type { ProducerOrder } from './rounds.ts'

/** Writes before the next step begins: a printed line has happened, at whatever moment the process is killed. */
function say(line: string): void {
  for (;;) {
    try {
      return void writeSync(1, `${line}\n`)
    } catch (error) {
      // The pipe may be full while a busy machine keeps the reader waiting.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}

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
say(`run ${trail.runId}`)
const session = trail.startSession({ session_id: sessionId })
for (let count = 0; ;) {
  const receipts = Array.from({ length: burst }, () =>
    session.decision({ reasoning: `${count++} ${'x'.repeat(bytes)}` }),
  )
  await Promise.all(receipts.map(({ stored }) => stored))
  say(`stored ${count}`)
}
