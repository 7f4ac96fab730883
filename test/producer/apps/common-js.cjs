// An agent written in CommonJS.
const { createAuditTrail } = require('@agent-audit/producer')

const trail = createAuditTrail({ agentId: 'common-js', dataDir: process.argv[2] })
trail.startSession({ session_id: 'required' }).decision({ reasoning: 'by require()' })
void trail.close().then(({ pending }) => process.stdout.write(`pending ${pending}\n`))
