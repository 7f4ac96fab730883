/** A program whose trail is closed by leaving its scope, by a throw if so asked. */
import { createAuditTrail } from '@agent-audit/producer'

const [dataDir = '', how = ''] = process.argv.slice(2)

async function work(): Promise<void> {
  await using trail = createAuditTrail({ agentId: 'using', dataDir })
  trail.startSession({ session_id: 'scoped' }).decision({ reasoning: 'inside' })
  if (how === 'throw') throw new Error('the scope is left early')
}

await work()
