/** The producer while its broker is down. These tests start their own Kafka, which they kill and start again. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { AuditTrailOptions, DeliveryMessage, TrailError } from '@agent-audit/producer'
import { type KafkaCluster, startKafka } from '@agent-audit/stack'
import type { Kafka } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { whyNoOwnKafka } from '../../support/kafka-proxy.ts'
import { connectKafka, makeTopic, readMessages } from '../../support/kafka-topic.ts'
import { SOON_BACK } from '../../support/own-kafka.ts'
import { decodeRow, openTrail, rowsOf } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

const PARTITIONS = 6
/** Most of a test is the second start of its broker: 10 s, and on a busy machine up to the 120 s that a container may take. */
const LIMIT_MS = 180_000
const reason = whyNoOwnKafka()

describe.skipIf(reason !== '')(`a real Kafka that is killed${reason}`, { timeout: LIMIT_MS }, () => {
  let kafka: KafkaCluster
  let client: Kafka

  beforeAll(async () => {
    kafka = await startKafka({ properties: SOON_BACK })
    client = connectKafka(kafka.brokers)
  })
  afterAll(() => kafka.stop())

  function openKafkaTrail(topic: string, options: Partial<AuditTrailOptions> = {}): ReturnType<typeof openTrail> {
    return openTrail({ brokers: kafka.brokers, topic, spoolDir: makeTempDirectory(), ...options })
  }

  it('no event is lost or out of order when a broker dies and comes back', async () => {
    const [node] = kafka.nodes
    if (node === undefined) throw new Error('a Kafka without nodes')
    const topic = await makeTopic(client, { numPartitions: PARTITIONS })
    const problems: TrailError[] = []
    const states: string[] = []
    const listen = (message: unknown): void => void states.push((message as DeliveryMessage).state)
    subscribe('agent-audit:delivery', listen)
    onTestFinished(() => void unsubscribe('agent-audit:delivery', listen))
    const trail = openKafkaTrail(topic, { onProblem: (problem) => problems.push(problem) })
    const session = trail.startSession({ session_id: 's1' })
    const record = async (from: number): Promise<void> => {
      for (let number = from; number < from + 5000; number++) {
        const { stored } = session.decision({ reasoning: `${number}` })
        if (number % 50 === 0) await stored
      }
    }
    await record(0)
    await vi.waitFor(() => expect(states).toEqual(['connected']), { timeout: 20_000 })
    await node.kill()
    await record(5000)
    await vi.waitFor(() => expect(problems).not.toEqual([]), { timeout: 20_000 })
    expect(problems[0]).toMatchObject({ code: 'BROKER_UNAVAILABLE' })
    expect(problems[0]?.message).toContain(kafka.brokers[0])
    await vi.waitFor(() => expect(states).toEqual(['connected', 'disconnected']), { timeout: 20_000 })
    await node.start()
    await record(10_000)
    expect(await trail.flush()).toEqual({ acked: 15_002, pending: 0, refused: 0 })
    expect(states.at(-1)).toBe('connected')
    const messages = await readMessages(
      client,
      topic,
      (read) => new Set(rowsOf(read).map((row) => row.run_seq)).size >= 15_002,
    )
    // A resend may have made duplicates: the consumer removes them by (run_id, run_seq).
    const seen = new Set<number>()
    const firsts = messages
      .map(({ value, ...position }) => decodeRow(value, position))
      .filter((row) => row.session_id === 's1' && !seen.has(row.run_seq) && seen.add(row.run_seq))
    const decisions = firsts.slice(1)
    expect(decisions.map((row) => Number(row['reasoning']))).toEqual(
      Array.from({ length: 15_000 }, (_, index) => index),
    )
  })

  it('a broker that is down at the start gets all events once it is up', async () => {
    const [node] = kafka.nodes
    if (node === undefined) throw new Error('a Kafka without nodes')
    const topic = await makeTopic(client, { numPartitions: PARTITIONS })
    await node.kill()
    const problems: TrailError[] = []
    const trail = openKafkaTrail(topic, { durability: 'broker', onProblem: (problem) => problems.push(problem) })
    const receipt = trail.startSession().decision({ reasoning: 'patient' })
    await vi.waitFor(() => expect(problems).not.toEqual([]), { timeout: 20_000 })
    expect(trail.stats()).toMatchObject({ connected: false, pending: 3 })
    await node.start()
    await receipt.stored
    expect(await trail.close()).toEqual({ acked: 4, pending: 0, refused: 0 })
  })
})
