/** A program that leaves the scope of its trail, which closes the trail; with the argument `throw` it leaves by an error. */
import { createAuditTrail } from '@agent-audit/producer'

const [dataDir = '', how = ''] = process.argv.slice(2)

async function work(): Promise<void> {
  await using trail = createAuditTrail({ agentId: 'using', dataDir })
  trail.startSession({ session_id: 'scoped' }).decision({ reasoning: 'inside' })
  if (how === 'throw') throw new Error('the scope is left early')
}

await work()
