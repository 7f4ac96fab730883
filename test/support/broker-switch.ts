/** One address that leads to the broker of one cluster or of another, as a name in DNS does, or a cluster that was built anew. */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { type KafkaCluster, startKafka } from '@agent-audit/stack'
import { endCluster } from './own-kafka.ts'

export interface BrokerSwitch {
  /** `host:port`, as both clusters say of themselves. */
  readonly address: string
  /** Leads to this cluster from here on, and cuts the connections to the other one. */
  to(cluster: KafkaCluster): void
  /** Starts a cluster, and leads to it. */
  start(): Promise<KafkaCluster>
  /** Ends the clusters too. */
  stop(): Promise<void>
}

export async function openBrokerSwitch(): Promise<BrokerSwitch> {
  const sockets = new Set<Socket>()
  const ports = new Map<KafkaCluster, number>()
  let port = 0
  const server = createServer((near) => {
    const far = createConnection({ host: '127.0.0.1', port })
    near.pipe(far).pipe(near)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', () => (other.destroy(), sockets.delete(socket)))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const cut = (): void => sockets.forEach((socket) => socket.destroy())
  return {
    address,
    to(cluster) {
      port = ports.get(cluster) ?? 0
      cut()
    },
    async start() {
      const cluster = await startKafka({
        advertise: (listening) => {
          port = Number(listening.split(':')[1])
          return Promise.resolve(address)
        },
      })
      ports.set(cluster, port)
      return cluster
    },
    async stop() {
      server.close()
      cut()
      await Promise.all([...ports.keys()].map(endCluster))
    },
  }
}
