/** A producer whose delivery fails and is started again, up to the tables. */
import { completeness, connectAnalytics } from '@agent-audit/analytics'
import { expect, it, vi } from 'vitest'
import { accountOf, environmentOf, openEmbedded, openStore } from '../consumer/support.ts'
import { startChildWith } from '../producer/process/run-program.ts'
import { readRows } from '../producer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'

const store = await openStore()
const module = new URL('../producer/delivery/fail-delivery.ts', import.meta.url)
const WAIT = { timeout: 30_000, interval: 50 }

it.each(['sent 1 1', 'stored 5 2', 'taken 5 2'])(
  'delivery that fails (%s): each event is in the table once, or explained',
  async (where) => {
    const log = await openEmbedded(store)
    const dataDir = log.environment['AUDIT_DATA_DIR'] ?? ''
    vi.stubEnv('FAIL_DELIVERY', where)
    const failures = where.split(' ').at(-1) ?? ''
    expect(await startChildWith({ module }, 'fail-delivery', dataDir, failures).exited()).toMatchObject({ code: 0 })
    const rows = readRows(dataDir)
    const events = new Set(rows.map(({ run_seq }) => run_seq)).size
    const duplicate = rows.length - events
    if (where.startsWith('sent')) expect(duplicate).toBeGreaterThan(0)
    startConsumerProcess(environmentOf(store, log))
    const skipped = duplicate === 0 ? {} : { duplicate }
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events, skipped })
    await using analytics = connectAnalytics(store.dataDir.reader)
    expect((await completeness(analytics)).verdict).toBe('complete')
  },
)
