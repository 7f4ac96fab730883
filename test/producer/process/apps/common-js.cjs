// An agent written in CommonJS: into the embedded log in a directory, or into a topic of a broker.
const { createAuditTrail } = require('@agent-audit/producer')

const [directory, broker, topic] = process.argv.slice(2)
const place = broker === undefined ? { dataDir: directory } : { brokers: [broker], topic, spoolDir: directory }
const trail = createAuditTrail({ agentId: 'common-js', ...place })
trail.startSession({ session_id: 'required' }).decision({ reasoning: 'by require()' })
void trail.close().then(({ pending }) => process.stdout.write(`pending ${pending}\n`))
