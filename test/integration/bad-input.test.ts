/** Bad messages among good ones on a real Kafka and a real ClickHouse: nothing stops, nothing is lost. */
import { completeness, connectAnalytics } from '@agent-audit/analytics'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore, rowsOf, runConsumer } from '../consumer/support.ts'
import { BAD_KINDS, type BadMessage, badMessages } from '../support/bad-records.ts'
import { encodeRecord, makeRecord } from '../support/records.ts'
import { draw, takeSeed } from '../support/seed.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const PARTITIONS = 4
const RUNS = ['r0', 'r1', 'r2', 'r3', 'r4']
const GOOD_OF_RUN = 8000
const GOOD = RUNS.length * GOOD_OF_RUN
const BAD = 2100
const CHUNK = 2000
const WAIT = { timeout: 90_000, interval: 100 }

const REASONS: Record<BadMessage['kind'], RegExp> = {
  'random bytes': /./,
  'random bytes behind a header': /\(field \w+\)$|after the last field/,
  truncated: /ends early|neither Avro/,
  overlong: /bytes after the last field/,
  'unknown fingerprint': /unknown schema fingerprint [0-9a-f]{16}/,
  'unknown schema id': /schema id \d+/,
  'invalid UTF-8': /invalid UTF-8 \(field \w+\)/,
  'bad UUID': /UUID.*\(field (event_id|parent_event_id|approval_id)\)/,
  'changed bytes': /./,
  tombstone: /tombstone/,
  'empty value': /empty value/,
}

/** What each partition is given, in order: good records of all runs, a bad message after every 18th to 20th of them. */
function mix(bad: readonly BadMessage[]): (Buffer | BadMessage)[][] {
  const partitions = Array.from({ length: PARTITIONS }, (): (Buffer | BadMessage)[] => [])
  const every = GOOD / bad.length
  for (let index = 0, next = 0; index < GOOD; index++) {
    const [run, seq] = [RUNS[index % RUNS.length] ?? '', Math.floor(index / RUNS.length)]
    const partition = partitions[seq % PARTITIONS]
    partition?.push(encodeRecord(makeRecord(run, seq)))
    while (next < bad.length && next * every <= index) partition?.push(bad[next++] as BadMessage)
  }
  return partitions
}

const valueOf = (message: Buffer | BadMessage): Buffer | null => (Buffer.isBuffer(message) ? message : message.value)

const kafka = kafkaAvailability()
const store = await openStore()
const openLog = openOnKafka(kafka.available ? (await sharedKafka()).brokers : [])

describe.skipIf(!kafka.available)(`on a real Kafka${kafka.available ? '' : `: ${kafka.reason}`}`, () => {
  it(
    `keeps ${BAD} generated bad messages as dead letters and stores ${GOOD} good ones once`,
    { timeout: 180_000 },
    async () => {
      const bad = draw(badMessages, BAD, takeSeed('bad input'))
      expect(new Set(bad.map(({ kind }) => kind))).toEqual(new Set(BAD_KINDS))
      const sent = mix(bad)
      expect(sent.flat().length).toBe(GOOD + BAD)
      expect(BAD / (GOOD + BAD)).toBeLessThanOrEqual(0.05)

      const log = await openLog(store, { partitions: PARTITIONS })
      const { consumer } = runConsumer({ ...environmentOf(store, log), BATCH_MAX_EVENTS: '3000' })
      for (let from = 0; sent.some((messages) => from < messages.length); from += CHUNK) {
        for (const [partition, messages] of sent.entries()) {
          await log.append(partition, messages.slice(from, from + CHUNK).map(valueOf))
        }
      }
      await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: GOOD, skipped: { dead: BAD } })
      expect(consumer.status.ready).toBe(true)

      const [events] = await store.rows(
        `SELECT uniqExact(run_id, run_seq) AS different, countIf(reasoning = concat('record ', toString(run_seq), ' of ',
         substring(session_id, 12))) AS whole FROM audit_events`,
      )
      expect(events).toEqual({ different: GOOD, whole: GOOD })

      const columns = 'log_partition, log_offset, kind, reason, isNull(value) AS tombstone, lower(hex(value)) AS bytes'
      const rows = await rowsOf<DeadRow>(store, log, 'audit_skipped', columns)
      const stored = rows.map((row) => [row.log_partition, row.log_offset, row.tombstone ? null : (row.bytes ?? '')])
      expect(stored).toEqual(placesOfBad(sent))
      for (const row of rows) {
        const message = sent[row.log_partition]?.[row.log_offset] as BadMessage
        expect([message.kind, row.kind, row.reason]).toEqual([
          message.kind,
          'dead',
          expect.stringMatching(REASONS[message.kind]),
        ])
      }

      const offsets = await store.rows(
        `SELECT log_partition, count() AS n, uniqExact(log_offset) AS different, min(log_offset) AS first, max(log_offset) AS last
       FROM (SELECT log_partition, log_offset FROM audit_events UNION ALL SELECT log_partition, log_offset FROM audit_skipped)
       GROUP BY log_partition ORDER BY log_partition`,
      )
      expect(offsets).toEqual(
        sent.map(({ length }, partition) => ({
          log_partition: partition,
          n: length,
          different: length,
          first: 0,
          last: length - 1,
        })),
      )
      await using analytics = connectAnalytics(store.dataDir.reader)
      const report = await completeness(analytics)
      expect(report).toMatchObject({ verdict: 'complete', events: GOOD, skipped: { duplicate: 0, dead: BAD, hole: 0 } })
    },
  )
})

interface DeadRow {
  readonly log_partition: number
  readonly log_offset: number
  readonly kind: string
  readonly reason: string
  readonly tombstone: number
  readonly bytes: string | null
}

function placesOfBad(sent: readonly (readonly (Buffer | BadMessage)[])[]): unknown[] {
  return sent.flatMap((messages, partition) =>
    messages.flatMap((message, offset) =>
      Buffer.isBuffer(message) ? [] : [[partition, offset, message.value?.toString('hex') ?? null]],
    ),
  )
}
