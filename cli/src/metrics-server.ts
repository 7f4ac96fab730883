/** `/metrics`, `/healthz` and, of some, `/readyz` of a command that runs until it is stopped. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { InvalidInputError } from '@agent-audit/schemas'

export interface MetricsServer extends Disposable {
  readonly url: string
}

/**
 * @param text - Metrics in the text format of Prometheus.
 * @param faults - Why it is not ready; none: it is.
 * @throws InvalidInputError `OPTIONS_INVALID` if the port is in use, or not allowed, or the address is not of this host.
 */
export async function serveMetrics(
  text: () => string | Promise<string>,
  { port, host, faults }: { readonly port: number; readonly host: string; readonly faults?: () => readonly string[] },
): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    if (request.url === '/metrics') {
      response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8')
      void Promise.resolve(text()).then((body) => response.end(body))
    } else if (request.url === '/healthz') response.end('ok\n')
    else if (request.url === '/readyz' && faults !== undefined) {
      const found = faults()
      response.statusCode = found.length === 0 ? 200 : 503
      response.end(found.length === 0 ? 'ready\n' : `${found.join('\n')}\n`)
    } else {
      response.statusCode = 404
      response.end(`try /metrics${faults === undefined ? '' : ', /readyz'} or /healthz\n`)
    }
  })
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new InvalidInputError('OPTIONS_INVALID', `--metrics-port: cannot listen at ${host}:${port}: ${why}`)
  }
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}`
  return {
    url,
    [Symbol.dispose]: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
