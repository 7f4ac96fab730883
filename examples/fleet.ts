/** A fleet in one process: memory is bounded, new work waits while the spool is full, running work never does. */
import type { AuditSession, AuditTrail, AuditTrailOptions } from '@agent-audit/producer'
import { fetchPage, sendMail } from './yours.ts'

export const FLEET: AuditTrailOptions = {
  agentId: 'crawler',
  // Room on disk for hours of events without a broker.
  spoolMaxBytes: 8 * 2 ** 30,
  onFull: 'wait',
  // The agent may read a page without a record, and sends no mail without one.
  onUnavailable: { fetch_page: 'proceed', send_mail: 'refuse' },
  onProblem: ({ code }) => process.stderr.write(`audit trail: ${code}\n`),
}

/** While the producer cannot store, the events of all running tasks must fit into half of `maxBufferBytes`: 80 KiB a task. */
const MOST_RUNNING = 100

export interface Task {
  readonly id: string
  readonly url: string
  readonly to: string
}

/** Runs the tasks side by side. @returns How many failed. */
export async function runFleet(trail: AuditTrail, tasks: AsyncIterable<Task> | Iterable<Task>): Promise<number> {
  const running = new Set<Promise<void>>()
  let failed = 0
  for await (const task of tasks) {
    if (running.size === MOST_RUNNING) await Promise.race(running)
    await trail.writable()
    const run = trail
      .withSession({ session_id: task.id }, (session) => digest(task, session))
      .catch(() => void failed++)
      .finally(() => running.delete(run))
    running.add(run)
  }
  await Promise.all(running)
  return failed
}

async function digest({ url, to }: Task, session: AuditSession): Promise<void> {
  const page = await session.guard({ tool_name: 'fetch_page', tool_input: { url } }, fetchPage)
  await session.guard({ tool_name: 'send_mail', tool_input: { to, text: page.slice(0, 80) } }, sendMail)
}
