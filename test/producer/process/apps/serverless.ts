/** A function that is invoked at its start and by SIGUSR2: it records, flushes for a moment, and prints the result of flush. */
import { createAuditTrail } from '@agent-audit/producer'

const [dataDir = '', broker = ''] = process.argv.slice(2)
const TIMEOUT_MS = 300

const trail = createAuditTrail({
  agentId: 'function',
  brokers: [broker],
  spoolDir: `${dataDir}/spool`,
  onProblem: () => {},
})

async function invoke(): Promise<void> {
  await trail.startSession().decision({ reasoning: 'invoked' }).stored
  const started = performance.now()
  const left = await trail.flush({ timeoutMs: TIMEOUT_MS })
  process.stdout.write(`${JSON.stringify({ ...left, tookMs: Math.round(performance.now() - started) })}\n`)
}

process.on('SIGUSR2', () => void invoke())
// The platform freezes the process between invocations, and does not end it.
setInterval(() => {}, 60_000)
await invoke()
