/**
 * Health and metrics over HTTP. /healthz: the process runs. /readyz: the last start check passed and no partition is stopped,
 * else 503 and the reason; it says nothing about lag, which /metrics tells.
 */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Consumer } from './consumer.ts'

export interface HttpServer {
  /** Address that it listens at, such as `http://127.0.0.1:9464`. */
  readonly url: string
  close(): void
}

/**
 * @param port - 0 for any free port.
 * @throws InvalidInputError `OPTIONS_INVALID` if the address is not known here, in use, or not allowed.
 */
export async function serveHttp(consumer: Consumer, host: string, port: number): Promise<HttpServer> {
  const { registry } = consumer.metrics
  const server = createServer((request, response) => {
    if (request.url === '/metrics') {
      response.setHeader('content-type', registry.contentType)
      void registry.metrics().then((text) => response.end(text))
    } else if (request.url === '/healthz') {
      response.end('ok\n')
    } else if (request.url === '/readyz') {
      const { ready, reason } = consumer.status
      response.statusCode = ready ? 200 : 503
      response.end(`${reason}\n`)
    } else {
      response.statusCode = 404
      response.end('try /healthz, /readyz or /metrics\n')
    }
  })
  await listen(server, host, port)
  const { address, port: actual } = server.address() as AddressInfo
  return { url: `http://${address}:${actual}`, close: () => server.close() }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const message = `HTTP_HOST, HTTP_PORT: cannot listen at ${host}:${port}: ${error.code ?? error.message}`
      reject(new InvalidInputError('OPTIONS_INVALID', message))
    })
    server.listen(port, host, () => resolve())
  })
}
