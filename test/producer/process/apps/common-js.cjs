// An agent written in CommonJS. It records into the embedded log in a directory, or into a topic of a broker.
const { createAuditTrail } = require('@agent-audit/producer')

const [directory, broker, topic] = process.argv.slice(2)
const destination = broker === undefined ? { dataDir: directory } : { brokers: [broker], topic, spoolDir: directory }
const trail = createAuditTrail({ agentId: 'common-js', ...destination })
trail.startSession({ session_id: 'required' }).decision({ reasoning: 'by require()' })
void trail.close().then(({ pending }) => process.stdout.write(`pending ${pending}\n`))
