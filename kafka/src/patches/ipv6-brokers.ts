/**
 * kafkajs splits the address of a broker at its first colon: of `[::1]:9092` it would take `[` for the host. So an IPv6
 * address goes to kafkajs as a host name without colons, which is turned back where the socket is opened. Both are options
 * of kafkajs: nothing is patched. The addresses that brokers report of themselves come as host and port, and are not split.
 */
import { createRequire } from 'node:module'
import type { ISocketFactory } from 'kafkajs'

/** A top-level domain that no host has (RFC 2606). */
const MARK = '.ipv6.invalid'

/** `[::1]:9092` as `3a3a31.ipv6.invalid:9092`; other addresses as they are. */
export function hostWithoutColons(broker: string): string {
  const [, address, port] = /^\[(.*)\]:(\d+)$/.exec(broker) ?? []
  return address === undefined ? broker : `${Buffer.from(address).toString('hex')}${MARK}:${port}`
}

/** Opens a socket as kafkajs does by itself. */
export const connectBroker: ISocketFactory = ({ host, ...rest }) => {
  const load = createRequire(import.meta.url)
  const createFactory = load('kafkajs/src/network/socketFactory') as () => ISocketFactory
  const real = host.endsWith(MARK) ? Buffer.from(host.slice(0, -MARK.length), 'hex').toString() : host
  return createFactory()({ host: real, ...rest })
}
