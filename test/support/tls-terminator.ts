/** Node's own TLS before a server that speaks plain HTTP: it demands a client certificate, as a proxy before ClickHouse does. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer as createSecureServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { onTestFinished } from 'vitest'
import type { Certificate, CertificateAuthority } from './certificates.ts'

export interface TerminatorOptions {
  /** The server's certificate. */
  readonly own: Certificate
  /** Demands a client certificate of this CA. */
  readonly clients?: CertificateAuthority
  /** Demands basic authentication with it, as `user:password`. */
  readonly credentials?: string
  /** Speaks plain HTTP instead. */
  readonly plain?: boolean
}

export interface Terminator {
  /** By the name `localhost`. */
  readonly url: string
  /** Names in the client certificates of the requests so far. */
  readonly clients: readonly string[]
  /** Ends all connections: a client opens new ones. */
  readonly cut: () => void
}

/** Passes requests on to the server at `target`; ended after the test. */
export async function terminateTls(target: string, options: TerminatorOptions): Promise<Terminator> {
  const { hostname, port, pathname } = new URL(target)
  const clients: string[] = []
  const pass = (incoming: IncomingMessage, response: ServerResponse): void => {
    const { subject } = (incoming.socket as TLSSocket).getPeerCertificate?.() ?? {}
    if (subject !== undefined) clients.push(String(subject.CN))
    const expected = options.credentials && `Basic ${Buffer.from(options.credentials).toString('base64')}`
    if (expected !== undefined && incoming.headers.authorization !== expected) {
      response.writeHead(401).end('{"error_code":401,"message":"Unauthorized"}')
      return
    }
    const { method, url: path, headers } = incoming
    const onward = request({ hostname, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    incoming.pipe(onward.on('error', () => response.destroy()))
  }
  const { own } = options
  const demand: ServerOptions =
    options.clients === undefined ? {} : { ca: options.clients.cert, requestCert: true, rejectUnauthorized: true }
  const server = options.plain === true ? createServer(pass) : createSecureServer({ ...own, ...demand }, pass)
  server.on('tlsClientError', () => undefined).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => server.closeAllConnections()
  onTestFinished(() => {
    server.close()
    cut()
  })
  const scheme = options.plain === true ? 'http' : 'https'
  const url = `${scheme}://localhost:${(server.address() as AddressInfo).port}${pathname.replace(/\/$/, '')}`
  return { url, clients, cut }
}
