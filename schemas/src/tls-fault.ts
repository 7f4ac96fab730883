/** What the errors of a connection say about TLS. */
import { tlsVariables } from './tls.ts'

/** A fault, as a clause of a message that begins with the server's address. */
export interface TlsFault {
  readonly text: string
  /** False: the server may also just be away. */
  readonly certain: boolean
}

/** Codes of Node for a certificate that no trusted CA has signed. */
const UNTRUSTED = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_UNTRUSTED',
  'CERT_SIGNATURE_FAILURE',
  'INVALID_CA',
])
/** Of the server, about the client's certificate. */
const REFUSED = /alert .*(?:certificate|unknown ca|access denied|decrypt error|handshake failure)/

/**
 * What the error of a connection says about TLS; undefined: nothing.
 * @param prefix - Of the settings to name: `KAFKA`, `CLICKHOUSE` or `SCHEMA_REGISTRY`.
 */
export function tlsFault(error: unknown, prefix: string): TlsFault | undefined {
  const { code = '', message = '' } = error as { code?: string; message?: string }
  const address = prefix === 'KAFKA' ? 'KAFKA_BROKERS' : `${prefix}_URL`
  const toggle = prefix === 'KAFKA' ? 'KAFKA_SSL' : `http or https in ${address}`
  const { ca, cert } = { ca: tlsVariables(prefix)('ca'), cert: tlsVariables(prefix)('cert') }
  const certain = (text: string): TlsFault => ({ text: text.replace('CODE', code), certain: true })
  if (UNTRUSTED.has(code))
    return certain(`no trusted CA has signed its certificate (CODE): ${ca} must hold the CA that has`)
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return certain(`its certificate, or that of its CA in ${ca}, is out of date (CODE): renew it`)
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = /altnames: (.*)$/.exec(message)?.[1] ?? 'CODE'
    return certain(`its certificate is of another host (${names}): ${address} must use a name that the certificate has`)
  }
  const reason = reasonOf(code, message)
  if (reason !== undefined && REFUSED.test(reason)) {
    return certain(
      `it refuses the client's certificate, or the lack of one (${reason}): ${cert} must hold one of today that its CA has signed`,
    )
  }
  if (reason !== undefined) return certain(`its port does not speak TLS as expected (${reason}): check ${toggle}`)
  if (code.startsWith('HPE_')) return certain(`its port does not speak plain HTTP (CODE): check ${toggle}`)
  if (!/ECONNRESET|EPIPE/.test(code) && !/closed connection|socket hang up/i.test(message)) return undefined
  return { text: `it closed the connection; if that stays so, check ${toggle} and ${cert}`, certain: false }
}

/**
 * The reason of an error of OpenSSL, in lower case. Node has it in the code (`ERR_SSL_TLSV1_ALERT_UNKNOWN_CA`), or, for an
 * error that OpenSSL met while it wrote, in the message of an EPROTO, which has several lines.
 */
function reasonOf(code: string, message: string): string | undefined {
  if (code.startsWith('ERR_SSL_')) return code.slice('ERR_SSL_'.length).toLowerCase().replaceAll('_', ' ')
  if (code !== 'EPROTO') return undefined
  return /error:[^:]*:[^:]*:[^:]*:([^:]+)/.exec(message)?.[1] ?? code
}
