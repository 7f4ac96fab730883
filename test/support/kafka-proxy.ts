/**
 * A proxy before a Kafka broker that knows just enough of the protocol to cut a connection at a chosen request, or to answer it
 * in the broker's place: a request and an answer each are a length of four bytes and a body; a request begins with its kind
 * (two bytes), version and correlation id, an answer with the correlation id of its request.
 */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** Kinds of requests: their numbers in the protocol. */
export const PRODUCE = 0
export const JOIN_GROUP = 11
export const HEARTBEAT = 12

export interface KafkaProxy {
  /** Where clients find the broker: `host:port`. */
  readonly address: string
  /** Answers withheld so far. */
  readonly withheld: number
  /**
   * Has the next `count` requests of a kind done by the broker and, when the answer comes, cuts the connection instead of
   * passing it on. Adds to what is left of earlier calls.
   */
  withholdAnswers(kind: number, count: number): void
  /** Answers the next request of a kind with this body, what follows the correlation id; the broker never hears of it. */
  answerNext(kind: number, body: Buffer): void
  /** From here on no answer is passed on; connections stay open. */
  fallSilent(): void
}

/** A proxy before the broker that listens at `target` (`host:port`), taken down after the test or the file. */
export async function openKafkaProxy(target: string, closeAfter = onTestFinished): Promise<KafkaProxy> {
  const { hostname, port } = new URL(`kafka://${target}`)
  const sockets = new Set<Socket>()
  const toWithhold = new Map<number, number>()
  const toAnswer = new Map<number, Buffer>()
  let withheld = 0
  let silent = false
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket
      .setNoDelay()
      .on('error', () => socket.destroy())
      .on('close', () => sockets.delete(socket))
  }
  const takesAnswer = (kind: number | undefined): boolean => {
    const left = kind === undefined ? 0 : (toWithhold.get(kind) ?? 0)
    if (kind === undefined || left === 0) return false
    toWithhold.set(kind, left - 1)
    withheld++
    return true
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
    const toClient = splitFrames((frame) => {
      const id = frame.readInt32BE(4)
      if (silent) return
      if (client.destroyed || takesAnswer(kinds.get(id))) client.destroy()
      else client.write(frame)
      kinds.delete(id)
    })
    keep(client)
      .on('data', toBroker)
      .on('close', () => broker.destroy())
    broker.on('data', toClient).on('close', () => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closeAfter(() => {
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
    fallSilent: () => void (silent = true),
  }
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
