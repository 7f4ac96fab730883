/** Asks a Kafka broker whether it is ready, in the protocol's own words: one Metadata request, version 1, for no topics. */
import { createConnection } from 'node:net'

const TIMEOUT_MS = 2_000
const METADATA = 3
const VERSION = 1
const CORRELATION_ID = 1
/** Length, api key, version, correlation id, client id (null), number of topics (0). */
const REQUEST_BYTES = 18
const LENGTH_BYTES = 4

/**
 * Whether the broker listening at `address` (`host:port`) answers and knows of `count` or more live brokers, itself, by
 * the address it is `advertised` at, among them.
 */
export async function hasBrokers(address: string, known: { advertised: string; count: number }): Promise<boolean> {
  try {
    const addresses = readBrokers(await exchange(address, metadataRequest()))
    return addresses.length >= known.count && addresses.includes(known.advertised)
  } catch {
    return false
  }
}

function metadataRequest(): Buffer {
  const request = Buffer.alloc(REQUEST_BYTES)
  request.writeInt32BE(REQUEST_BYTES - LENGTH_BYTES, 0)
  request.writeInt16BE(METADATA, 4)
  request.writeInt16BE(VERSION, 6)
  request.writeInt32BE(CORRELATION_ID, 8)
  request.writeInt16BE(-1, 12)
  return request
}

/** Sends one request and returns the body of the answer, after its length and correlation id. */
function exchange(address: string, request: Buffer): Promise<Buffer> {
  const { hostname, port } = new URL(`kafka://${address}`)
  const socket = createConnection({ host: hostname, port: Number(port) })
  return new Promise<Buffer>((resolve, reject) => {
    let received = Buffer.alloc(0)
    socket.setTimeout(TIMEOUT_MS, () => reject(new Error(`no answer within ${TIMEOUT_MS} ms`)))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('connection closed')))
    socket.on('connect', () => socket.write(request))
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      const total = received.length < LENGTH_BYTES ? Infinity : LENGTH_BYTES + received.readInt32BE(0)
      if (received.length >= total) resolve(received.subarray(LENGTH_BYTES + 4, total))
    })
  }).finally(() => socket.destroy())
}

/** Reads the first field of the answer: the live brokers, as id, host, port and rack. */
function readBrokers(body: Buffer): string[] {
  let offset = 4
  const readString = (): string => {
    const length = Math.max(body.readInt16BE(offset), 0)
    const text = body.toString('utf8', offset + 2, offset + 2 + length)
    offset += 2 + length
    return text
  }
  return Array.from({ length: body.readInt32BE(0) }, () => {
    offset += 4
    const host = readString()
    const port = body.readInt32BE(offset)
    offset += 4
    readString()
    return `${host}:${port}`
  })
}
