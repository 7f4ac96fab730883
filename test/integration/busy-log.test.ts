/** The embedded log under a consumer whose heartbeats it does not take: another process holds its file. */
import { embeddedLogFile, openEmbeddedLogReader } from '@agent-audit/spool'
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { accountOf, environmentOf, openEmbedded, openStore } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { encodeRun } from '../support/records.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }

it(
  'goes on after a heartbeat that failed: the process lives, rejoins at once, and stores',
  { timeout: 90_000 },
  async () => {
    const log = await openEmbedded(store)
    await log.append(0, encodeRun('a', 0, 9))
    // A member that could not leave would keep its own next membership out for the session timeout, longer than this test waits.
    const environment = { ...environmentOf(store, log), SESSION_TIMEOUT_MS: '60000', LOG_LEVEL: 'info' }
    const consumer = startConsumerProcess(environment)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 10, skipped: {} })
    const directory = log.environment['AUDIT_DATA_DIR'] ?? ''
    const reader = openEmbeddedLogReader({ directory })
    // An idle consumer that has left its partition clean writes nothing but heartbeats.
    await expect.poll(() => reader.committed(log.group, log.topic, 0), WAIT).toEqual({ offset: 10, metadata: 'clean' })
    reader.close()
    const other = new DatabaseSync(embeddedLogFile(directory))
    other.exec('BEGIN IMMEDIATE')
    // The consumer waits 10 s for the file, as every call to the log does.
    await expect.poll(() => consumer.stdout, { ...WAIT, timeout: 45_000 }).toContain('cannot write a heartbeat to')
    expect(consumer.stdout).toContain('"code":"LOG_UNAVAILABLE"')
    other.close()
    await log.append(0, encodeRun('a', 10, 19))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 20, skipped: {} })
    expect(await consumer.kill('SIGTERM')).toBe(0)
  },
)
