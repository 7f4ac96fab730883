/**
 * A proxy before a Kafka broker. It knows enough of the protocol to cut a connection at a chosen request, to answer instead of
 * the broker, and to delay answers: a request and an answer each are a length of four bytes and a body; a request begins with its kind
 * (two bytes), version and correlation id, an answer with the correlation id of its request.
 */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { kafkaAvailability, type KafkaCluster, type KafkaOptions, startKafka } from '@agent-audit/stack'
import { afterAll } from 'vitest'
import { endCluster } from './own-kafka.ts'

/** Kinds of requests: their numbers in the protocol. */
export const PRODUCE = 0
export const FETCH = 1
export const JOIN_GROUP = 11
export const HEARTBEAT = 12

export interface KafkaProxy {
  /** The address at which clients reach the broker: `host:port`. */
  readonly address: string
  /** Answers withheld so far. */
  readonly withheld: number
  /**
   * Passes the next `count` requests of a kind to the broker and, when an answer comes, cuts the connection instead of passing
   * the answer on. Adds to the rest of earlier calls.
   */
  withholdAnswers(kind: number, count: number): void
  /** Answers the next request of a kind with this body, which follows the correlation id. The broker does not get the request. */
  answerNext(kind: number, body: Buffer): void
  /** Keeps back the answers to requests of a kind, and all later answers on their connection, until `release` resolves. */
  holdAnswers(kind: number, release: Promise<unknown>): void
  /** Changes the bytes of answers to requests of a kind, in place; undefined: no longer. */
  changeAnswers(kind: number, change: ((answer: Buffer) => void) | undefined): void
  /** Resolves once the next answer to a request of a kind has been passed on. */
  answered(kind: number): Promise<void>
  /** From here on no answer is passed on; connections stay open. */
  fallSilent(): void
}

/** A proxy before the broker that listens at `target` (`host:port`), taken down after the file. */
async function openKafkaProxy(target: string): Promise<KafkaProxy> {
  const { hostname, port } = new URL(`kafka://${target}`)
  const sockets = new Set<Socket>()
  const toWithhold = new Map<number, number>()
  const toAnswer = new Map<number, Buffer>()
  const toHold = new Map<number, Promise<unknown>>()
  const toChange = new Map<number, ((answer: Buffer) => void) | undefined>()
  const toTell = new Map<number, PromiseWithResolvers<void>>()
  let withheld = 0
  let silent = false
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket
      .setNoDelay()
      .on('error', () => socket.destroy())
      .on('close', () => sockets.delete(socket))
  }
  const takesAnswer = (kind: number): boolean => {
    const left = toWithhold.get(kind) ?? 0
    if (left === 0) return false
    toWithhold.set(kind, left - 1)
    withheld++
    return true
  }
  const pass = (client: Socket, frame: Buffer, kind: number): void => {
    if (silent) return
    if (client.destroyed || takesAnswer(kind)) {
      client.destroy()
      return
    }
    toChange.get(kind)?.(frame)
    client.write(frame)
    toTell.get(kind)?.resolve()
    toTell.delete(kind)
  }
  const server = createServer((client) => {
    const broker = keep(createConnection({ host: hostname, port: Number(port) }))
    const kinds = new Map<number, number>()
    const toBroker = splitFrames((frame) => {
      const kind = frame.readInt16BE(4)
      const answer = toAnswer.get(kind)
      toAnswer.delete(kind)
      if (answer !== undefined) {
        client.write(makeFrame(frame.subarray(8, 12), answer))
        return
      }
      kinds.set(frame.readInt32BE(8), kind)
      broker.write(frame)
    })
    let lastPassed: Promise<unknown> = Promise.resolve()
    const toClient = splitFrames((frame) => {
      const id = frame.readInt32BE(4)
      const kind = kinds.get(id) ?? -1
      kinds.delete(id)
      lastPassed = lastPassed.then(() => toHold.get(kind)).then(() => pass(client, frame, kind))
    })
    keep(client)
      .on('data', toBroker)
      .on('close', () => broker.destroy())
    broker.on('data', toClient).on('close', () => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  afterAll(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    get withheld() {
      return withheld
    },
    withholdAnswers: (kind, count) => void toWithhold.set(kind, (toWithhold.get(kind) ?? 0) + count),
    answerNext: (kind, body) => void toAnswer.set(kind, body),
    changeAnswers: (kind, change) => void toChange.set(kind, change),
    holdAnswers: (kind, release) => void toHold.set(kind, release),
    answered(kind) {
      const told = toTell.get(kind) ?? Promise.withResolvers<void>()
      toTell.set(kind, told)
      return told.promise
    },
    fallSilent: () => void (silent = true),
  }
}

/** Why a test cannot start its own Kafka here, as the end of the test's name; empty if it can. */
export function whyNoOwnKafka(): string {
  const kafka = kafkaAvailability()
  if (!kafka.available) return ` (skipped: ${kafka.reason})`
  return process.env['KAFKA_BROKERS'] ? ' (skipped: needs nodes of its own, unset KAFKA_BROKERS)' : ''
}

/** A Kafka that clients reach by proxies only, one before each node; all are taken down after the file. */
export async function startProxiedKafka(
  options: KafkaOptions = {},
): Promise<{ cluster: KafkaCluster; proxy: KafkaProxy; proxies: readonly KafkaProxy[] }> {
  // A node whose port another process has taken meanwhile gets another port, and another proxy.
  const opened = new Map<string, KafkaProxy>()
  const cluster = await startKafka({
    ...options,
    advertise: async (address) => {
      const proxy = await openKafkaProxy(address)
      opened.set(proxy.address, proxy)
      return proxy.address
    },
  })
  afterAll(() => endCluster(cluster))
  const proxies = cluster.nodes.flatMap(({ address }) => opened.get(address) ?? [])
  const [proxy] = proxies
  if (proxy === undefined || proxies.length < cluster.nodes.length) throw new Error('a node without a proxy')
  return { cluster, proxy, proxies }
}

const LENGTH_BYTES = 4

function makeFrame(correlationId: Buffer, body: Buffer): Buffer {
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeInt32BE(correlationId.length + body.length)
  return Buffer.concat([length, correlationId, body])
}

/** Collects chunks of a stream and passes on whole frames, with their lengths in front. */
function splitFrames(pass: (frame: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + rest.readInt32BE(0)
      if (rest.length < end) return
      pass(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
  }
}
