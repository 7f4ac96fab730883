/** A consumer whose log has lost its reader. */
import { expect, it } from 'vitest'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

it('ends on SIGTERM though the reader of its log has ended', async () => {
  const nowhere = 'http://127.0.0.1:1'
  const consumer = startConsumerProcess({
    AUDIT_DATA_DIR: makeTempDirectory(),
    CLICKHOUSE_URL: nowhere,
    LOG_LEVEL: 'info',
  })
  await consumer.url()
  consumer.closeStdout()
  expect(await consumer.kill('SIGTERM')).toBe(0)
})
