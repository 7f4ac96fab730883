/**
 * One Kafka for all test files of a run that neither stop nor change a broker: a start costs seconds, and a broker that has run
 * for a while answers sooner. The main process of the run starts it when the first file asks, and stops it after the last file.
 * Kafka ends with that process, also when a signal kills the process. Each run starts its own Kafka, and each test makes its
 * own topics and groups.
 */
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type KafkaCluster, startKafka } from '@agent-audit/stack'
import type { TestProject } from 'vitest/node'

/** Shorter sessions are allowed than Kafka's least, 6 s: tests of killed consumers wait for their end. */
const PROPERTIES = { 'group.min.session.timeout.ms': '1500' }

declare module 'vitest' {
  interface ProvidedContext {
    /** The URL at which a file asks for the run's Kafka; see `shared-kafka.ts`. */
    readonly runKafkaUrl: string
  }
}

export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  let starting: Promise<KafkaCluster> | undefined
  const server = createServer((_, response) => {
    starting ??= startKafka({ properties: PROPERTIES })
    starting.then(
      ({ brokers, attached }) => response.end(JSON.stringify({ brokers, attached })),
      (error: unknown) => response.writeHead(500).end(String(error)),
    )
  })
  provide('runKafkaUrl', await listen(server))
  return async () => {
    server.close()
    server.closeAllConnections()
    await starting?.then((cluster) => cluster.stop()).catch(() => undefined)
  }
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
