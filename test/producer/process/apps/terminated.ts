/** Terminates a thread whose trail has no broker; then the process opens a trail on the same directory. */
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { createAuditTrail } from '@agent-audit/producer'

async function workInThread({ brokers, spoolDir }: { brokers: string[]; spoolDir: string }): Promise<void> {
  const trail = createAuditTrail({ agentId: 'thread', brokers, spoolDir, onProblem: () => {} })
  const session = trail.startSession()
  const receipts = Array.from({ length: 300 }, (_, number) => session.decision({ reasoning: `${number}` }))
  await Promise.all(receipts.map(({ stored }) => stored))
  const port = parentPort
  if (port !== null) port.postMessage('stored')
}

async function begin(): Promise<void> {
  if (!isMainThread) return workInThread(workerData as Parameters<typeof workInThread>[0])
  const [dataDir = '', broker = ''] = process.argv.slice(2)
  const spoolDir = `${dataDir}/spool`
  const thread = new Worker(new URL(import.meta.url), { workerData: { brokers: [broker], spoolDir } })
  const [message] = (await once(thread, 'message')) as [string]
  process.stdout.write(`${message}\n`)
  await thread.terminate()
  await using trail = createAuditTrail({ agentId: 'next', dataDir, spoolDir })
  trail.startSession()
  // Dead runs' events go out before its own.
  await trail.flush()
  process.stdout.write(`adopted ${trail.stats().adopted}\n`)
}

await begin()
