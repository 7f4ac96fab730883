/** An insert that landed without an answer: the look-ups of the consumer afterwards, and the state that it must keep. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { startCuttingProxy } from '../support/cutting-proxy.ts'
import { loseAnswer } from '../support/insert-rules.ts'
import { encodeRun, runIdOf } from '../support/records.ts'
import { accountOf, environmentOf, openLogKinds, openStore, runConsumer, type TestLog } from './support.ts'

/** Many fetches and many batches: the consumer is ahead with both when the answer is lost. */
const EVENTS = 20_000
const PIECE = 1000
const BATCH_EVENTS = 250
const WAIT = { timeout: 50_000, interval: 50 }

const store = await openStore()
const kinds = await openLogKinds()
/** Starts a consumer of the log; the answer to its first insert is lost. @returns once that has happened. */
async function loseFirstAnswer(log: TestLog): Promise<void> {
  const { url } = store.dataDir.writer
  const proxy = await startCuttingProxy(Number(new URL(url).port))
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  const lost = Promise.withResolvers<void>()
  proxy.rules.add(loseAnswer(() => lost.resolve()))
  runConsumer({
    ...environmentOf(store, log),
    CLICKHOUSE_URL: `http://127.0.0.1:${proxy.port}`,
    BATCH_MAX_EVENTS: String(BATCH_EVENTS),
  })
  await lost.promise
}

describe.each(kinds)('an insert whose answer is lost, on %s', (_kind, openLog) => {
  it('loses no record that was read ahead: none is taken for a hole', async () => {
    const log = await openLog(store)
    // Sent in several requests, or one fetch would bring the whole log.
    for (let first = 0; first < EVENTS; first += PIECE) {
      await log.append(0, encodeRun(`ahead ${log.topic}`, first, first + PIECE - 1))
    }
    await loseFirstAnswer(log)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: EVENTS, skipped: {} })
  })

  it('is known to have landed when its records are sent again, also of a run whose id ends in a zero byte', async () => {
    const log = await openLog(store)
    const names = Array.from({ length: 5000 }, (_, index) => `again ${log.topic} ${index}`)
    const run = names.find((name) => runIdOf(name).at(-1) === 0) ?? ''
    const records = encodeRun(run, 0, 99)
    await log.append(0, records)
    await loseFirstAnswer(log)
    await log.append(0, records)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 100, skipped: { duplicate: 100 } })
  })
})
