/**
 * A TCP proxy for network faults: it refuses connections, cuts them, and holds answers back. It shows all bytes to rules, which
 * may change them or cut the connection.
 */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'

/** One connection through the proxy. */
export interface ProxyConnection {
  /** Resets both sides at once: a request under way is lost without an answer. */
  cut(): void
}

/** Sees the bytes of all connections, and returns the bytes to pass on; undefined: none. */
export interface ProxyRule {
  request?(bytes: Buffer, connection: ProxyConnection): Buffer | undefined
  answer?(bytes: Buffer, connection: ProxyConnection): Buffer | undefined
}

export interface CuttingProxy extends AsyncDisposable {
  readonly port: number
  /** Set while new connections are cut at once. @defaultValue false */
  refusing: boolean
  /** Number of connections cut so. */
  readonly refused: number
  /** Applied in order, each to the bytes that the rule before it passed on. */
  readonly rules: Set<ProxyRule>
  /** Cuts all open connections. */
  cutAll(): void
}

/** Starts a proxy before the server at `127.0.0.1:targetPort`, which need not be up. */
export async function startCuttingProxy(targetPort: number): Promise<CuttingProxy> {
  const connections = new Set<ProxyConnection>()
  const server = createServer({ noDelay: true })
  let refused = 0
  const proxy: CuttingProxy = {
    refusing: false,
    rules: new Set(),
    get port() {
      return (server.address() as AddressInfo).port
    },
    get refused() {
      return refused
    },
    cutAll() {
      for (const connection of connections) connection.cut()
    },
    async [Symbol.asyncDispose]() {
      proxy.refusing = true
      proxy.cutAll()
      server.close()
    },
  }
  server.on('connection', (client) => {
    if (proxy.refusing) {
      refused++
      client.destroy()
      return
    }
    const target = createConnection({ host: '127.0.0.1', port: targetPort, noDelay: true })
    const connection: ProxyConnection = {
      cut() {
        client.resetAndDestroy()
        target.destroy()
      },
    }
    connections.add(connection)
    client.once('close', () => connections.delete(connection))
    pass(client, target, (bytes) => applyRules(proxy.rules, 'request', { bytes, connection }))
    pass(target, client, (bytes) => applyRules(proxy.rules, 'answer', { bytes, connection }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return proxy
}

function applyRules(
  rules: ReadonlySet<ProxyRule>,
  side: 'request' | 'answer',
  { bytes, connection }: { bytes: Buffer; connection: ProxyConnection },
): Buffer | undefined {
  let passed: Buffer | undefined = bytes
  for (const rule of rules) {
    if (passed !== undefined && rule[side] !== undefined) passed = rule[side](passed, connection)
  }
  return passed
}

function pass(from: Socket, to: Socket, change: (bytes: Buffer) => Buffer | undefined): void {
  from.on('data', (bytes) => {
    const passed = change(bytes)
    if (passed === undefined || to.destroyed || to.write(passed)) return
    from.pause()
    to.once('drain', () => from.resume())
  })
  from.once('end', () => to.end())
  from.once('close', () => to.destroy())
  from.on('error', () => to.destroy())
}
