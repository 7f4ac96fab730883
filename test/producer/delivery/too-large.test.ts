/** Records that the broker will never take: what can be sent goes on, the rest is set aside and said. */
import { randomInt } from 'node:crypto'
import { readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditTrailOptions } from '@agent-audit/producer'
import { inspectSpools } from '@agent-audit/spool'
import { kafkaAvailability } from '@agent-audit/stack'
import kafkajs, { type Kafka } from 'kafkajs'
import { beforeAll, describe, expect, it } from 'vitest'
import { connectKafka, makeTopic, type Message, readMessages, withAdmin } from '../../support/kafka-topic.ts'
import { sharedKafka } from '../../support/shared-kafka.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail, type Row, rowsOf } from '../support.ts'

const MAX_MESSAGE_BYTES = 20_000
/** Letters at random: zstd does not bring them below the topic's limit. */
const TOO_LARGE = Array.from({ length: 80_000 }, (_, at) =>
  at % 8 === 7 ? ' ' : String.fromCharCode(randomInt(97, 123)),
).join('')

const availability = kafkaAvailability()
const reason = availability.available ? '' : ` (skipped: ${availability.reason})`

describe.skipIf(!availability.available)(`one record above the topic's max.message.bytes${reason}`, () => {
  let brokers: readonly string[]
  let client: Kafka

  beforeAll(async () => {
    ;({ brokers } = await sharedKafka())
    client = connectKafka(brokers)
  })

  const makeSmallTopic = (): Promise<string> =>
    makeTopic(client, {
      numPartitions: 1,
      configEntries: [{ name: 'max.message.bytes', value: `${MAX_MESSAGE_BYTES}` }],
    })

  const openKafkaTrail = (topic: string, options: Partial<AuditTrailOptions> = {}): ReturnType<typeof openTrail> =>
    openTrail({ brokers, topic, maxRecordBytes: 2 ** 20, onProblem: () => {}, ...options })

  it('is set aside and named, holds no space and nothing up, and is sent once the topic takes it', async () => {
    const [topic, spoolDir] = [await makeSmallTopic(), makeTempDirectory()]
    const problems: string[] = []
    const onProblem = ({ message }: Error): void => void problems.push(message)
    const trail = openKafkaTrail(topic, { spoolDir, onProblem })
    const session = trail.startSession({ session_id: 's1' })
    const before = session.decision({ reasoning: 'before' })
    const large = session.decision({ reasoning: TOO_LARGE })
    const after = session.decision({ reasoning: 'after' })
    await large.stored
    await expect(large.acked).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE', retryable: false })
    const offsets = [(await before.acked).offset, (await after.acked).offset]
    await session.decision({ reasoning: 'goes on' }).acked
    await expect.poll(() => trail.stats().spoolBytes).toBe(0)
    expect(await trail.close()).toMatchObject({ pending: 0, refused: 1 })

    const rows = rowsOf(await readMessages(client, topic, hasEnded))
    expect([rowOf(rows, 'before'), rowOf(rows, 'after')].map((row) => row?.offset)).toEqual(offsets)
    const file = readdirSync(join(spoolDir, topic)).find((name) => name.includes('.undelivered-')) ?? ''
    const path = join(spoolDir, topic, file)
    expect(rows.find(({ event_type }) => event_type === 'events_lost')).toMatchObject({
      reason: 'RECORD_TOO_LARGE',
      content: { run_id: trail.runId, first_run_seq: 3, last_run_seq: 3, count: 1, set_aside: path },
    })
    expect(problems).toEqual([expect.stringContaining(`set aside as ${path}: Kafka at`)])
    expect(inspectSpools(join(spoolDir, topic))).toMatchObject([{ runId: trail.runId, file: path, state: 'set-aside' }])

    await allowLargeMessages(client, topic)
    renameSync(path, path.replace(/\.undelivered-.*$/, ''))
    const next = openKafkaTrail(topic, { spoolDir })
    await expect.poll(() => next.stats().adopted, { timeout: 20_000 }).toBe(1)
    const later = await readMessages(client, topic, (read) => rowOf(rowsOf(read), TOO_LARGE) !== undefined)
    expect(rowOf(rowsOf(later), TOO_LARGE)).toMatchObject({ run_id: trail.runId, run_seq: 3 })
  })

  it.each(['report', 'throw'] as const)(
    'is the result of a guarded call: the caller knows (%s), and a short result follows',
    async (onResultUnavailable) => {
      const topic = await makeSmallTopic()
      const problems: unknown[] = []
      const trail = openKafkaTrail(topic, {
        spoolDir: makeTempDirectory(),
        onProblem: (problem) => problems.push(problem),
      })
      const session = trail.startSession({ session_id: 's1' })
      const call = { tool_name: 'read', tool_input: {} }
      const options = { durability: 'broker', timeoutMs: 60_000, onResultUnavailable } as const
      const done = await session.guard(call, () => TOO_LARGE, options).catch((error: unknown) => error)
      if (onResultUnavailable === 'report') {
        expect(done).toBe(TOO_LARGE)
        await expect.poll(() => problems).toContainEqual(expect.objectContaining({ code: 'RESULT_NOT_RECORDED' }))
      } else
        expect(done).toMatchObject({
          code: 'RESULT_NOT_RECORDED',
          value: TOO_LARGE,
          failure: { code: 'RECORD_TOO_LARGE' },
        })
      await trail.close()
      const rows = rowsOf(await readMessages(client, topic, hasEnded))
      expect(rows.filter(({ event_type }) => event_type === 'tool_result')).toMatchObject([
        { outcome: 'success', effect: 'confirmed', content: { output_not_recorded: 'RECORD_TOO_LARGE' } },
      ])
    },
  )

  it('in the spool of a dead run is named by the run that finds it', async () => {
    const [topic, spoolDir] = [await makeSmallTopic(), makeTempDirectory()]
    const dead = openKafkaTrail(topic, { spoolDir, brokers: ['127.0.0.1:1'] })
    const session = dead.startSession({ session_id: 's1' })
    for (const reasoning of [TOO_LARGE, TOO_LARGE, 'small', TOO_LARGE]) session.decision({ reasoning })
    await dead.close({ timeoutMs: 0 })
    const next = openKafkaTrail(topic, { spoolDir })
    await expect.poll(() => next.stats().adopted, { timeout: 20_000 }).toBe(4)
    expect(await next.close()).toMatchObject({ pending: 0, refused: 0 })
    const rows = rowsOf(await readMessages(client, topic, hasEnded))
    const named = rows
      .filter(({ event_type }) => event_type === 'events_lost')
      .map((row) => row['content'] as { run_id: string; first_run_seq: number; count: number })
    expect(new Set(named.map(({ run_id }) => run_id))).toEqual(new Set([dead.runId]))
    const lost = named.flatMap(({ first_run_seq, count }) =>
      Array.from({ length: count }, (_, at) => first_run_seq + at),
    )
    expect(lost).toEqual([2, 3, 5])
    expect(inspectSpools(join(spoolDir, topic))).toHaveLength(1)
  })

  it('without a spool is refused, and later events are taken', async () => {
    const topic = await makeSmallTopic()
    const trail = openKafkaTrail(topic, { durability: 'broker' })
    const session = trail.startSession({ session_id: 's1' })
    const large = session.decision({ reasoning: TOO_LARGE })
    const small = session.decision({ reasoning: 'small' })
    await expect(large.stored).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE', retryable: false })
    await small.stored
    expect(await trail.close()).toMatchObject({ pending: 0, refused: 1 })
    const rows = rowsOf(await readMessages(client, topic, hasEnded))
    expect(rows.find(({ event_type }) => event_type === 'events_lost')).toMatchObject({
      reason: 'RECORD_TOO_LARGE',
      content: { first_run_seq: 2, last_run_seq: 2, count: 1 },
    })
  })
})

function rowOf(rows: readonly Row[], reasoning: string): Row | undefined {
  return rows.find((row) => row['reasoning'] === reasoning)
}

/** The last event of a trail is there. */
function hasEnded(read: readonly Message[]): boolean {
  return rowsOf(read).some(({ event_type }) => event_type === 'trail_stopped')
}

function allowLargeMessages(client: Kafka, topic: string): Promise<unknown> {
  const configEntries = [{ name: 'max.message.bytes', value: '1048588' }]
  const resource = { type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries }
  return withAdmin(client, (admin) => admin.alterConfigs({ validateOnly: false, resources: [resource] }))
}
