/** Asks a Kafka whether it is ready. The one file of the stack that imports kafkajs. */
import kafkajs from 'kafkajs'

const TIMEOUT_MS = 2_000

/** Whether the cluster answers for metadata with at least `count` brokers and a controller; false when it does not. */
export async function hasBrokers(brokers: readonly string[], count: number): Promise<boolean> {
  const kafka = new kafkajs.Kafka({
    clientId: 'agent-audit-stack',
    brokers: [...brokers],
    connectionTimeout: TIMEOUT_MS,
    requestTimeout: TIMEOUT_MS,
    retry: { retries: 0 },
    logLevel: kafkajs.logLevel.NOTHING,
  })
  const admin = kafka.admin()
  try {
    await admin.connect()
    const cluster = await admin.describeCluster()
    return cluster.brokers.length >= count && cluster.controller !== null && cluster.controller >= 0
  } catch {
    return false
  } finally {
    await admin.disconnect().catch(() => {})
  }
}
