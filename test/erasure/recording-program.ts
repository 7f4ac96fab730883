/** Records texts of one subject, encrypted. Arguments: embedded log, folder of keys, KEK file, subject, number of texts. */
import { createAuditTrail } from '@agent-audit/producer'

const [dataDir, directory = '', kekFile = '', userId, texts] = process.argv.slice(2)
const trail = createAuditTrail({
  agentId: 'agent',
  dataDir,
  handleExit: false,
  encryption: { keys: { directory, kekFile } },
})
const session = trail.startSession({ user_id: userId })
for (let index = 0; index < Number(texts); index++) session.finalOutput({ output_text: 'the same text' })
session.end()
await trail.close()
