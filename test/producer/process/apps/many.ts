/**
 * One application in several processes or threads, each with its own trail on the shared directory. Arguments: `cluster` or
 * `threads`, the number of members beside the first, the directory, how the members end, and a broker.
 */
import cluster from 'node:cluster'
import { isMainThread, threadId, Worker, workerData } from 'node:worker_threads'
import { createAuditTrail } from '@agent-audit/producer'

interface Member {
  readonly dataDir: string
  readonly brokers: readonly string[] | undefined
  readonly end: 'close' | 'exit' | 'run-out'
}

const EVENTS = 300

async function work(name: string, { dataDir, brokers, end }: Member): Promise<void> {
  const destination = brokers === undefined ? { dataDir } : { brokers, spoolDir: `${dataDir}/spool` }
  const trail = createAuditTrail({ agentId: name, ...destination, onProblem: () => {} })
  const session = trail.startSession({ session_id: name })
  for (let number = 0; number < EVENTS; number++) session.decision({ reasoning: `${number}` })
  if (end === 'close') await trail.close({ timeoutMs: brokers === undefined ? 10_000 : 0 })
  // In a thread, that ends the thread.
  if (end === 'exit') process.exit()
}

async function begin(): Promise<void> {
  const [how, count = '', dataDir = '', end = '', broker] = process.argv.slice(2)
  const member = { dataDir, end, brokers: broker === undefined ? undefined : [broker] } as Member
  if (!isMainThread) return work(`thread-${threadId}`, workerData as Member)
  if (cluster.isWorker) {
    await work(`process-${process.pid}`, member)
    // The channel to the primary would keep it alive.
    return process.disconnect()
  }
  const fork = (): unknown =>
    how === 'cluster' ? cluster.fork() : new Worker(new URL(import.meta.url), { workerData: member })
  for (let index = 0; index < Number(count); index++) fork()
  await work('first', { ...member, end: 'close' })
}

await begin()
