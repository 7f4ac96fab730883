/** Alerts to a Kafka topic: a record a finding, its id as the key, JSON as the value. */
import type { KafkaConnection, Sender } from '@agent-audit/kafka'
import { createKafkaSender } from '@agent-audit/kafka/sender'
import { alertBody, type AlertTarget } from './alert.ts'

/** Importing kafkajs waits for the first alert. */
export function topicTarget(topic: string, connection: KafkaConnection): AlertTarget {
  let client: { sender: Sender; partitions: number } | undefined
  const connect = async (): Promise<{ sender: Sender; partitions: number }> => {
    const sender = createKafkaSender({ schemaRegistry: undefined }, connection)
    const reached = await sender.connect([topic])
    return { sender, partitions: reached.partitions.get(topic) ?? 1 }
  }
  const close = async (): Promise<void> => {
    const closing = client?.sender
    client = undefined
    await closing?.close()
  }
  return {
    name: `topic ${topic}`,
    async send(finding) {
      client ??= await connect()
      const [key, value] = [Buffer.from(finding.finding_id), Buffer.from(alertBody(finding))]
      const partition = Number.parseInt(finding.finding_id.slice(0, 8), 16) % client.partitions
      try {
        await client.sender.send({ topic, partition }, [{ key, value, bytes: key.length + value.length }])
      } catch (error) {
        // Whether the broker has it is not known: the next try sends it once more, with a new client.
        await close()
        throw error
      }
    },
    [Symbol.asyncDispose]: close,
  }
}
