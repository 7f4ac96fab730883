/** Seals on a real Kafka: their topic is missing at first, and a record that the broker never takes is named. */
import { join } from 'node:path'
import type { TrailError } from '@agent-audit/producer'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it } from 'vitest'
import { connectKafka, makeTopic, readMessages } from '../../support/kafka-topic.ts'
import { checkSeals, newKey, sealsOf } from '../../support/sealed-runs.ts'
import { sharedKafka } from '../../support/shared-kafka.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail } from '../support.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`

describe.skipIf(!kafka.available)(`seals on Kafka ${MISSING}`, () => {
  it('wait for their topic while events go on, say once what is missing, and arrive once it is there', async () => {
    const { brokers } = await sharedKafka()
    const client = connectKafka(brokers)
    const topic = await makeTopic(client, { numPartitions: 2 })
    const key = newKey('agent-1')
    const problems: TrailError[] = []
    const onProblem = (problem: TrailError): void => void problems.push(problem)
    const spoolDir = join(makeTempDirectory(), 'spool')
    const trail = openTrail({ brokers, topic, spoolDir, signing: { key: key.pem }, onProblem })
    const session = trail.startSession()
    await session.decision({ reasoning: 'first' }).acked
    await expect.poll(() => problems.length).toBeGreaterThan(0)
    for (let index = 0; index < 20; index++) await session.decision({ reasoning: `${index}` }).acked
    const said = problems.map(({ message }) => message)
    expect(said).toEqual([
      expect.stringMatching(`^seals wait, and events go on: Kafka at .* has no topic ${topic}.seals: create it`),
    ])
    await makeTopic(client, { topic: `${topic}.seals`, numPartitions: 1 })
    const seals = await readMessages(client, `${topic}.seals`, (found) => found.length > 0)
    expect(sealsOf(seals, [key])[0]).toMatchObject({ topic, producerId: 'agent-1', number: 0, first: 0 })
    await trail.close()
    const ended = await readMessages(
      client,
      `${topic}.seals`,
      (found) => found.at(-1)?.value.includes('closed') === true,
    )
    const events = await readMessages(client, topic, (found) => found.length === 24)
    const run = checkSeals(events, ended, [key]).get(trail.runId)
    expect(run).toMatchObject({ faults: [], unsealed: [], sealedTwice: [], missing: [], gaps: [] })
  })

  it('name a record that the broker never takes', async () => {
    const { brokers } = await sharedKafka()
    const client = connectKafka(brokers)
    const configEntries = [{ name: 'max.message.bytes', value: '20000' }]
    const topic = await makeTopic(client, { numPartitions: 1, configEntries })
    await makeTopic(client, { topic: `${topic}.seals`, numPartitions: 1 })
    const key = newKey('agent-1')
    const spoolDir = join(makeTempDirectory(), 'spool')
    const trail = openTrail({ brokers, topic, spoolDir, signing: { key: key.pem }, onProblem: () => {} })
    const session = trail.startSession()
    const reasoning = Array.from({ length: 40_000 }, () => Math.random().toString(36).slice(2, 4)).join('')
    const refused = session.decision({ reasoning })
    await expect(refused.acked).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' })
    await trail.close()
    const seals = await readMessages(
      client,
      `${topic}.seals`,
      (found) => found.at(-1)?.value.includes('closed') === true,
    )
    const events = await readMessages(client, topic, (found) => found.length >= 4)
    const run = checkSeals(events, seals, [key]).get(trail.runId)
    expect(run).toMatchObject({ faults: [], unsealed: [], sealedTwice: [], gaps: [] })
    expect(run?.missing).toEqual([2])
    expect(run?.undelivered).toEqual([2])
    expect(run?.seals.flatMap(({ undelivered }) => undelivered.map(({ code }) => code))).toEqual(['RECORD_TOO_LARGE'])
  })
})
