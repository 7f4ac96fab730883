/** TLS of a client: its settings and files, its agent for HTTPS, and what the errors of a connection mean. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import type { Agent, AgentOptions } from 'node:https'
import { resolve } from 'node:path'
import { type Environment, readSecret, readSecretFile } from './environment.ts'
import type { Issue } from './errors.ts'

/** A secret or PEM text itself, or the file that has it. The file is read for each new connection: a renewed one needs no restart. */
export type Secret = string | { readonly file: string }

/** TLS with a private CA, and a client certificate with its key. */
export interface ClientTls {
  /** Certificates of the CAs to trust, PEM. @defaultValue the certificates that Node trusts */
  readonly ca?: Secret | undefined
  /** Client certificate, PEM; its intermediate certificates behind it. */
  readonly cert?: Secret | undefined
  /** Private key of the client certificate, PEM. */
  readonly key?: Secret | undefined
  /** Password of an encrypted private key. */
  readonly passphrase?: Secret | undefined
}

/** The texts, as `node:tls` takes them. */
export type OpenedTls = { readonly [Field in keyof ClientTls]?: string | undefined }

/** The name of a setting, such as `KAFKA_SSL_CA` or `ssl.ca`. */
type NameOf = (field: keyof ClientTls) => string

const NAMES = { ca: 'CA', cert: 'CERT', key: 'KEY', passphrase: 'KEY_PASSWORD' } as const
const FIELDS = Object.keys(NAMES) as (keyof typeof NAMES)[]

/** The names of the variables with this prefix. */
function variables(prefix: string): NameOf {
  return (field) => `${prefix}_SSL_${NAMES[field]}`
}

/** The value of NAME, or the file that NAME_FILE names, which must be readable now. Problems are added to `issues`. */
export function takeSecret(env: Environment, name: string, issues: Issue[]): Secret | undefined {
  const text = readSecret(env, name, issues)
  const file = env[`${name}_FILE`]
  return text !== undefined && file ? { file: resolve(file) } : text
}

/** The text of a secret. @throws Error naming the setting, if its file cannot be read. */
export function openSecret(secret: Secret, name: string): string {
  const issues: Issue[] = []
  const text = read(secret, name, issues)
  if (text === undefined) throw firstOf(issues)
  return text
}

/** Reads PREFIX_SSL_CA, _CERT, _KEY and _KEY_PASSWORD. Problems are added to `issues`. @returns undefined if none is set */
export function readTlsEnvironment(env: Environment, prefix: string, issues: Issue[]): ClientTls | undefined {
  const nameOf = variables(prefix)
  const named = FIELDS.filter((field) => env[nameOf(field)] || env[`${nameOf(field)}_FILE`])
  if (named.length === 0) return undefined
  const before = issues.length
  const tls = Object.fromEntries(named.map((field) => [field, takeSecret(env, nameOf(field), issues)]))
  open(tls, nameOf, issues)
  expectPair(named, nameOf, issues)
  return issues.length === before ? tls : undefined
}

/** What is wrong with texts or files that options give: paths begin with `path`. */
export function findTlsIssues(tls: ClientTls, path: string): Issue[] {
  const issues: Issue[] = []
  const nameOf: NameOf = (field) => `${path}.${field}`
  open(tls, nameOf, issues)
  expectPair(
    FIELDS.filter((field) => tls[field] !== undefined),
    nameOf,
    issues,
  )
  return issues
}

/** Reads the files for a new connection, and checks the texts. @throws Error naming the first wrong setting of the prefix. */
export function openTls(tls: ClientTls, prefix: string): OpenedTls {
  const issues: Issue[] = []
  const opened = open(tls, variables(prefix), issues)
  if (issues.length > 0) throw firstOf(issues)
  return opened
}

function firstOf([issue]: readonly Issue[]): Error {
  return new Error(`${issue?.path}: ${issue?.expected}`)
}

function read(secret: Secret, name: string, issues: Issue[]): string | undefined {
  return typeof secret === 'string' ? secret : readSecretFile(secret.file, pathOf(secret, name), issues)
}

/** The setting that has a secret: a variable, an option such as `ssl.ca`, or the one of the two that names its file. */
function pathOf(secret: Secret | undefined, name: string): string {
  if (typeof secret !== 'object') return name
  return name.includes('.') ? `${name}.file` : `${name}_FILE`
}

function expectPair(given: readonly (keyof ClientTls)[], nameOf: NameOf, issues: Issue[]): void {
  if (given.includes('cert') === given.includes('key')) return
  issues.push({ path: nameOf('cert'), expected: `expected together with ${nameOf('key')}` })
}

/** Issues never quote a text. */
function open(tls: ClientTls, nameOf: NameOf, issues: Issue[]): OpenedTls {
  const opened: { -readonly [Field in keyof OpenedTls]: OpenedTls[Field] } = {}
  for (const field of FIELDS) {
    const secret = tls[field]
    if (secret !== undefined) opened[field] = read(secret, nameOf(field), issues)
  }
  const expect = (field: keyof ClientTls, expected: string): void => {
    issues.push({ path: pathOf(tls[field], nameOf(field)), expected })
  }
  const { ca, cert, key } = opened
  if (ca !== undefined && readCertificates(ca).length === 0) expect('ca', NO_CERTIFICATES)
  const [own] = readCertificates(cert ?? '')
  if (cert !== undefined && own === undefined) expect('cert', NO_CERTIFICATES)
  const privateKey = readKey(opened)
  if (key !== undefined && privateKey === undefined) {
    const encrypted = key.includes('ENCRYPTED')
    if (encrypted) expect('passphrase', `expected the password of the encrypted key in ${nameOf('key')}`)
    else expect('key', 'expected PEM text of a private key, which has a line -----BEGIN … PRIVATE KEY-----')
  }
  if (own !== undefined && privateKey !== undefined && !own.checkPrivateKey(privateKey)) {
    expect('key', `expected the key of the certificate in ${nameOf('cert')}, not of another one`)
  }
  return opened
}

const NO_CERTIFICATES = 'expected PEM text of certificates, which has a line -----BEGIN CERTIFICATE-----'

/** All of a bundle, or none: `node:tls` drops what it cannot read without an error. */
function readCertificates(pem: string): X509Certificate[] {
  const parts = pem.match(/-----BEGIN [^-]*CERTIFICATE-----[^]*?(?:-----END [^-]*CERTIFICATE-----|$)/g) ?? []
  try {
    return parts.map((part) => new X509Certificate(part))
  } catch {
    return []
  }
}

function readKey({ key, passphrase }: OpenedTls): KeyObject | undefined {
  if (key === undefined) return undefined
  try {
    return createPrivateKey(passphrase === undefined ? key : { key, passphrase })
  } catch {
    return undefined
  }
}

/**
 * An agent that reads the files of its certificates for each connection, and resumes no TLS session: that would keep the
 * certificate of the first one.
 * @param prefix - Of the settings that errors name.
 */
export function httpsAgent(tls: ClientTls, prefix: string, options: AgentOptions = {}): Agent {
  const agent = new (process.getBuiltinModule('node:https').Agent)({ ...options, maxCachedSessions: 0 })
  const connect = agent.createConnection.bind(agent)
  agent.createConnection = (to, callback) => {
    try {
      return connect({ ...to, ...openTls(tls, prefix) }, callback)
    } catch (error) {
      // Not thrown: http would throw it out of the call that begins the request.
      process.nextTick(() => callback?.(error as Error, undefined as never))
      return undefined
    }
  }
  return agent
}

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

function certain(text: string): TlsFault {
  return { text, certain: true }
}

/**
 * What the error of a connection says about TLS; undefined: nothing.
 * @param prefix - Of the settings to name: `KAFKA`, `CLICKHOUSE` or `SCHEMA_REGISTRY`.
 */
export function tlsFault(error: unknown, prefix: string): TlsFault | undefined {
  const { code: given, message = '' } = error as { code?: unknown; message?: string }
  // A number is one of Kafka's codes.
  const code = typeof given === 'string' ? given : ''
  const address = prefix === 'KAFKA' ? 'KAFKA_BROKERS' : `${prefix}_URL`
  const toggle = prefix === 'KAFKA' ? 'KAFKA_SSL' : `http or https in ${address}`
  const nameOf = variables(prefix)
  const [ca, cert] = [nameOf('ca'), nameOf('cert')]
  if (UNTRUSTED.has(code))
    return certain(`no trusted CA has signed its certificate (${code}): ${ca} must hold the CA that has`)
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return certain(`its certificate, or that of its CA in ${ca}, is out of date (${code}): renew it`)
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const names = /altnames: (.*)$/.exec(message)?.[1] ?? code
    return certain(`its certificate is of another host (${names}): ${address} must use a name that the certificate has`)
  }
  const reason = reasonOf(code, message)
  if (reason !== undefined && REFUSED.test(reason)) {
    return certain(
      `it refuses the client's certificate, or the lack of one (${reason}): ${cert} must hold one of today that its CA has signed`,
    )
  }
  if (reason !== undefined) return certain(`its port does not speak TLS as expected (${reason}): check ${toggle}`)
  if (code.startsWith('HPE_')) return certain(`its port does not speak plain HTTP (${code}): check ${toggle}`)
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
