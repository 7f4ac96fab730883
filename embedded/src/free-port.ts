/** Ports for servers. */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * Below the range that the kernel gives to outgoing connections (32768 and up on Linux). Any client could take a port of
 * that range while a killed server is down: clients that retry on loopback even connect to themselves.
 */
const FIRST_PORT = 12_000
const LAST_PORT = 32_000
const ATTEMPTS = 200

/**
 * Finds different ports on which no process listens at this moment. Another process may still take one before it is used:
 * the caller starts its server, and asks again when the port is in use.
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
