/** An embedded log that takes no appends for a while. */
import { DatabaseSync } from 'node:sqlite'
import { openEmbeddedLog } from '@agent-audit/spool'

/** Makes appends to an embedded log wait. @returns A function that lets them go on. */
export function holdEmbeddedLog(dataDir: string, topic: string): () => void {
  const log = openEmbeddedLog({ directory: dataDir })
  log.createTopic(topic, 4)
  const lock = new DatabaseSync(log.file)
  lock.exec('BEGIN IMMEDIATE')
  return () => {
    lock.close()
    log.close()
  }
}
