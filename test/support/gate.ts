/** An address that is out of reach until it is opened: connections are cut, then passed on to a server. */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Gate {
  /** The server's URL, by way of the gate. */
  readonly url: string
  /** Connections cut so far. */
  readonly cut: number
  open(): void
  /** Cuts all connections, and those to come, until {@link open}. */
  shut(): void
  /** Holds all bytes back, as a server that has stopped answering, until {@link open}. */
  stall(): void
}

/** A gate before the server at `target`, shut, and taken down after the test. */
export async function openGate(target: string): Promise<Gate> {
  const { hostname, port, pathname } = new URL(target)
  const sockets = new Set<Socket>()
  let isOpen = false
  let cut = 0
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
  }
  const server = createServer((socket) => {
    keep(socket)
    if (!isOpen) {
      cut++
      socket.destroy()
      return
    }
    const onward = keep(createConnection({ host: hostname, port: Number(port) }))
    socket.on('close', () => onward.destroy()).pipe(onward)
    onward.on('close', () => socket.destroy()).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${address.port}${pathname === '/' ? '' : pathname}`,
    get cut() {
      return cut
    },
    open: () => {
      isOpen = true
      for (const socket of sockets) socket.resume()
    },
    shut: () => {
      isOpen = false
      for (const socket of sockets) socket.destroy()
    },
    stall: () => {
      for (const socket of sockets) socket.pause()
    },
  }
}
