/** The producer against a real Kafka. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import type { AuditTrailOptions, TrailError } from '@agent-audit/producer'
import { NEWEST_SCHEMA, readFrame } from '@agent-audit/schemas'
import { kafkaAvailability } from '@agent-audit/stack'
import kafkajs, { type Kafka } from 'kafkajs'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { connectKafka, makeTopic, type Message, readMessages } from '../../support/kafka-topic.ts'
import { type SharedKafka, sharedKafka } from '../../support/shared-kafka.ts'
import { startApp, startChild, startChildWith } from '../process/run-program.ts'
import { decodeRow, openTrail, type Row, rowsOf } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

const PARTITIONS = 6
const availability = kafkaAvailability()
const reason = availability.available ? '' : ` (skipped: ${availability.reason})`

/** Every message has its session as key, and is in the partition that kafkajs itself would choose. */
function expectPositions(topic: string, messages: readonly Message[]): void {
  const partitionOf = kafkajs.Partitioners.DefaultPartitioner()
  const partitionMetadata = Array.from(
    { length: PARTITIONS },
    (_, partitionId) => ({ partitionId, leader: 0 }) as never,
  )
  for (const { key, partition, value, offset } of messages) {
    expect(key).toBe(decodeRow(value, { partition, offset }).session_id)
    expect(partition).toBe(partitionOf({ topic, partitionMetadata, message: { key, value } }))
  }
}

describe.skipIf(!availability.available)(`on a real Kafka${reason}`, () => {
  let kafka: SharedKafka
  let client: Kafka

  beforeAll(async () => {
    kafka = await sharedKafka()
    client = connectKafka(kafka.brokers)
  })

  const makeTestTopic = (): Promise<string> => makeTopic(client, { numPartitions: PARTITIONS })

  function openKafkaTrail(topic: string, options: Partial<AuditTrailOptions> = {}): ReturnType<typeof openTrail> {
    return openTrail({ brokers: kafka.brokers, topic, spoolDir: makeTempDirectory(), ...options })
  }

  it('every record lands once, in order, keyed by its session, in the partition that every Kafka client would choose', async () => {
    const topic = await makeTestTopic()
    const trail = openKafkaTrail(topic)
    const sessions = Array.from({ length: 40 }, (_, index) => trail.startSession({ session_id: `sesión-${index}` }))
    const receipts = Array.from({ length: 3000 }, (_, index) =>
      sessions[index % 40]?.decision({ reasoning: `${index}` }),
    )
    expect(await trail.close()).toEqual({ acked: 3042, pending: 0, refused: 0 })
    const messages = await readMessages(client, topic, (read) => read.length >= 3042)
    const rows = rowsOf(messages)
    expect(rows.map((row) => row.run_seq)).toEqual(Array.from({ length: 3042 }, (_, seq) => seq))
    expectPositions(topic, messages)
    const positions = new Map(rows.map((row) => [row.event_id, row]))
    for (const receipt of receipts.slice(-100)) {
      const { partition, offset } = positions.get(receipt?.event_id ?? '') as Row
      expect(await receipt?.acked).toEqual({ topic, partition, offset })
    }
  })

  it('with a schema registry, each record begins with its schema id', async () => {
    const asked: string[] = []
    const registry = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`)
      request.resume().on('end', () => response.end('{"id": 4711}'))
    }).listen(0, '127.0.0.1')
    await once(registry, 'listening')
    onTestFinished(() => void registry.close())
    const topic = await makeTestTopic()
    const trail = openKafkaTrail(topic, {
      schemaRegistryUrl: `http://127.0.0.1:${(registry.address() as AddressInfo).port}`,
    })
    trail.startSession().decision({ reasoning: 'framed' })
    await trail.close()
    expect(asked).toContain(`POST /subjects/${topic}-value/versions`)
    const messages = await readMessages(client, topic, (read) => read.length >= 4)
    for (const { value } of messages) {
      expect(readFrame(value)).toEqual({ kind: 'confluent', registryId: 4711, bodyStart: 5 })
      expect(NEWEST_SCHEMA.avroType.fromBuffer(value.subarray(5))).toHaveProperty('producer_id', 'agent-1')
    }
  })

  it('a separate program sends its events, ends, and writes nothing to standard error: kafkajs gives no warning', async () => {
    const topic = await makeTestTopic()
    const child = startApp('common-js.cjs', makeTempDirectory(), kafka.brokers[0] ?? '', topic)
    expect(await child.exited()).toEqual({ code: 0, signal: null, stderr: '' })
    expect(child.lines).toEqual(['pending 0'])
    expect(await readMessages(client, topic, (read) => read.length >= 4)).toHaveLength(4)
  })

  it('a missing topic is reported by name, and used once it exists', async () => {
    const topic = `late-${randomUUID()}`
    const problems: TrailError[] = []
    const trail = openKafkaTrail(topic, { onProblem: (problem) => problems.push(problem) })
    const { acked } = trail.startSession().decision({ reasoning: 'early' })
    await vi.waitFor(() => expect(problems).not.toEqual([]), { timeout: 20_000 })
    expect(problems[0]).toMatchObject({ code: 'BROKER_UNAVAILABLE', retryable: true })
    expect(problems[0]?.message).toContain(`has no topic ${topic}`)
    await makeTopic(client, { topic, numPartitions: 1 })
    expect(await acked).toMatchObject({ topic, partition: 0 })
  })

  it('events that a killed process stored in a new directory without a broker arrive once and in order', async () => {
    const topic = await makeTestTopic()
    const directory = makeTempDirectory()
    const child = startChild('record-forever', directory, topic)
    await child.printed(300)
    await child.kill('SIGKILL')
    const trail = openKafkaTrail(topic, { spoolDir: join(directory, 'spool') })
    const isThere = (read: readonly Message[]): boolean => {
      const ids = new Set(rowsOf(read).map((row) => row.event_id))
      return child.lines.every((id) => ids.has(id))
    }
    await trail.startSession().decision({ reasoning: 'the next run' }).acked
    const messages = await readMessages(client, topic, isThere)
    expect(await trail.close()).toMatchObject({ pending: 0 })
    const rows = rowsOf(messages).filter((row) => row['run_id'] !== trail.runId)
    expect(rows.map((row) => row.run_seq)).toEqual(rows.map((_, seq) => seq))
    for (const [session_id, session] of Map.groupBy(rows, (row) => row.session_id)) {
      expect({ session_id, offsets: session.map(({ offset }) => offset) }).toEqual({
        session_id,
        offsets: session.map(({ offset }) => offset).toSorted((one, other) => one - other),
      })
    }
    expectPositions(topic, messages)
  })

  it.each([
    ['from a worker thread, where freed memory is detached', true],
    ['inline, where freed memory is overwritten', false],
  ])('a client that sends a rejected batch late sends the right records: %s', async (_, workers) => {
    const topic = await makeTopic(client, { numPartitions: 1 })
    const preload = { module: new URL('late-client.ts', import.meta.url), workers }
    const child = startChildWith(preload, 'record-in-rounds', makeTempDirectory(), `${kafka.brokers[0]} ${topic}`)
    expect(await child.exited()).toMatchObject({ code: 0, signal: null })
    const late = Number(/^late (\d+)$/.exec(child.lines[0] ?? '')?.[1])
    const recorded = Number(/^recorded (\d+)$/.exec(child.lines[1] ?? '')?.[1])
    expect(late).toBeGreaterThan(0)
    const messages = await readMessages(client, topic, (read) => read.length >= recorded + late)
    const copies = Map.groupBy(messages, ({ value, ...position }) => decodeRow(value, position).run_seq)
    expect([...copies.keys()].toSorted((one, other) => one - other)).toEqual(
      Array.from({ length: recorded }, (_value, seq) => seq),
    )
    // The late client has sent the second copies, each of another record.
    expect(messages).toHaveLength(recorded + late)
    expect([...copies.values()].filter(({ length }) => length === 2)).toHaveLength(late)
    for (const [first, second] of copies.values()) {
      if (second !== undefined) expect(second.value.equals(first?.value ?? Buffer.alloc(0))).toBe(true)
    }
  })
})
