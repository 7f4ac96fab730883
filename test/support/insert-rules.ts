/** Rules for a proxy before ClickHouse that break inserts. */
import type { ProxyConnection, ProxyRule } from './cutting-proxy.ts'

/** The HTTP request of an insert, in the chunk that begins it. */
const INSERT = /^POST \/\?[^\r\n]*INSERT(?:\+|%20)INTO/

function isInsert(bytes: Buffer): boolean {
  return INSERT.test(bytes.toString('latin1'))
}

/** Calls `onInsert` once the first insert is sent or answered, and changes nothing. */
export function watchInsert(when: 'sent' | 'answered', onInsert: () => void): ProxyRule {
  let inserting: ProxyConnection | undefined
  return {
    request(bytes, connection) {
      if (inserting === undefined && isInsert(bytes)) {
        inserting = connection
        if (when === 'sent') onInsert()
      }
      return bytes
    },
    answer(bytes, connection) {
      if (connection === inserting && when === 'answered') onInsert()
      return bytes
    },
  }
}

/** The first insert reaches the server and lands; its answer does not come back. */
export function loseAnswer(onLost: () => void): ProxyRule {
  let inserting: ProxyConnection | undefined
  let lost = false
  return {
    request(bytes, connection) {
      if (isInsert(bytes)) inserting ??= connection
      return bytes
    },
    answer(bytes, connection) {
      if (lost || connection !== inserting) return bytes
      lost = true
      connection.cut()
      onLost()
      return undefined
    },
  }
}

/** Inserts are cut once so many bytes of them are through; shorter ones pass. */
export function cutInBody(afterBytes: number, onCut: () => void): ProxyRule {
  const sent = new Map<ProxyConnection, number>()
  return {
    request(bytes, connection) {
      const before = isInsert(bytes) ? 0 : sent.get(connection)
      if (before === undefined) return bytes
      sent.set(connection, before + bytes.length)
      if (before + bytes.length <= afterBytes) return bytes
      // The bytes that the proxy passed on arrive before the reset.
      setTimeout(() => connection.cut(), 1)
      onCut()
      return bytes.subarray(0, Math.max(1, afterBytes - before))
    },
  }
}

/** No insert reaches the server: each one waits on its open connection for an answer that does not come. */
export function holdInserts(): ProxyRule {
  const held = new Set<ProxyConnection>()
  return {
    request(bytes, connection) {
      if (isInsert(bytes)) held.add(connection)
      return held.has(connection) ? undefined : bytes
    },
  }
}

/** The server itself refuses: inserts carry a setting that makes it refuse, such as `readonly=2`. */
export function addSetting(setting: string): ProxyRule {
  return {
    request: (bytes) =>
      isInsert(bytes)
        ? Buffer.from(bytes.toString('latin1').replace('POST /?', `POST /?${setting}&`), 'latin1')
        : bytes,
  }
}
