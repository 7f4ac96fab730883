/** What the tests of a session share. */
import { createHash } from 'node:crypto'
import type { AuditSession, AuditTrailOptions } from '@agent-audit/producer'
import { makeTempDirectory, openTrail, type Row, sessionRows } from './support.ts'

/** Records in one session, and returns its rows without session_start. */
export async function record(
  work: (session: AuditSession) => void,
  options: Partial<AuditTrailOptions> = {},
): Promise<Row[]> {
  const dataDir = makeTempDirectory()
  const trail = openTrail({ dataDir, modelId: 'model-1', ...options })
  work(trail.startSession({ session_id: 's1', user_id: 'u1' }))
  await trail.close()
  return sessionRows(dataDir).slice(1)
}

export const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')
