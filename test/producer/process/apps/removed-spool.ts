/** Records for a broker that is away, and prints what is on disk; the directory of its spools is removed meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createAuditTrail } from '@agent-audit/producer'

const [spoolDir = ''] = process.argv.slice(2)
const print = (line: string): void => void process.stdout.write(`${line}\n`)
const trail = createAuditTrail({
  agentId: 'agent-1',
  brokers: ['127.0.0.1:1'],
  spoolDir,
  onProblem: ({ code }) => code === 'SPOOL_UNAVAILABLE' && print(code),
})
const session = trail.startSession({ session_id: 's1' })
for (let count = 0; ; count++) {
  await session.guard({ tool_name: 'pay', tool_input: { count } }, () => print(`ran ${count}`))
  await sleep(count < 20 ? 0 : 20)
}
