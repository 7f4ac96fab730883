/**
 * kafkajs splits the address of a broker at its first colon: of `[::1]:9092` it would take `[` for the host. So an IPv6
 * address goes to kafkajs as a host name without colons, which is turned back where the socket is opened. Both are options
 * of kafkajs: nothing is patched. The addresses that brokers report of themselves come as host and port, and are not split.
 */
import { type ClientTls, openTls } from '@agent-audit/schemas'
import type { ISocketFactory } from 'kafkajs'

/** A top-level domain that no host has (RFC 2606). */
const MARK = '.ipv6.invalid'

/** `[::1]:9092` as `3a3a31.ipv6.invalid:9092`; other addresses as they are. */
export function hostWithoutColons(broker: string): string {
  const [, address, port] = /^\[(.*)\]:(\d+)$/.exec(broker) ?? []
  return address === undefined ? broker : `${Buffer.from(address).toString('hex')}${MARK}:${port}`
}

const KEEP_ALIVE_DELAY_MS = 60_000

/** Opens a socket as kafkajs does by itself (src/network/socketFactory.js), which a bundle cannot load by its path. */
export const connectBroker: ISocketFactory = ({ host: name, port, ssl, onConnect }) => {
  const host = name.endsWith(MARK) ? Buffer.from(name.slice(0, -MARK.length), 'hex').toString() : name
  // Not imported: an agent that writes into the embedded log would load both at its start.
  const net = process.getBuiltinModule('node:net')
  const serverName = net.isIP(host) === 0 ? { servername: host } : {}
  // kafkajs passes on the client's own setting, whatever its types say.
  const tls = ssl as ClientTls | boolean | undefined
  const opened = typeof tls === 'object' ? openTls(tls, 'KAFKA') : {}
  const socket = tls
    ? process.getBuiltinModule('node:tls').connect({ host, port, ...serverName, ...opened }, onConnect)
    : net.connect({ host, port }, onConnect)
  socket.setKeepAlive(true, KEEP_ALIVE_DELAY_MS)
  return socket
}
