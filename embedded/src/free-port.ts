/** Ports for the parts we start. */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * Below the range the kernel gives to outgoing connections (32768 and up on Linux). A port out of that range could be
 * taken by any client while a killed server is down: its clients, retrying on loopback, even connect to themselves.
 */
const FIRST_PORT = 12_000
const LAST_PORT = 32_000
const ATTEMPTS = 200

/**
 * Finds ports nobody listens on at this moment, all different. Another process may still take one before it is used:
 * the caller starts its server, and on a refusal asks again.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  for (let attempt = 0; attempt < ATTEMPTS && ports.size < count; attempt++) {
    const port = randomInt(FIRST_PORT, LAST_PORT)
    if (!ports.has(port) && (await isFree(port))) ports.add(port)
  }
  if (ports.size < count) throw new Error(`no free port found between ${FIRST_PORT} and ${LAST_PORT}`)
  return [...ports]
}

/** Whether a server could listen on this port of 127.0.0.1 now. */
export function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
