/** Certificates for tests, made by openssl: a CA, and what it signs. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

/** A certificate and its key, as files and as PEM text. */
export interface Certificate {
  readonly cert: string
  readonly certFile: string
  readonly key: string
  readonly keyFile: string
}

export interface CertificateAuthority extends Certificate {
  /** Signs a certificate for a server of this name, or for a client. */
  readonly sign: (host: string, options?: { readonly days?: number }) => Certificate
}

/** Why there are no certificates here; empty: there are. */
export const noOpenssl: string = spawnSync('openssl', ['version']).status === 0 ? '' : 'needs openssl'

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

function readPair(certFile: string, keyFile: string): Certificate {
  return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
}

/** A CA for the tests of a file, whose files are removed after the last one. */
export function makeAuthority(name = 'test CA'): CertificateAuthority {
  const directory = mkdtempSync(join(tmpdir(), 'certificates-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  const file = (leaf: string): string => join(directory, leaf)
  openssl(
    'req',
    '-x509',
    ...EC,
    '-subj',
    `/CN=${name}`,
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.pem'),
    '-days',
    '2',
  )
  let signed = 0
  const sign: CertificateAuthority['sign'] = (host, { days = 2 } = {}) => {
    const leaf = String(++signed)
    const [certFile, keyFile, request] = [file(`${leaf}.pem`), file(`${leaf}.key`), file(`${leaf}.csr`)] as const
    openssl(
      'req',
      ...EC,
      '-subj',
      `/CN=${host}`,
      '-addext',
      `subjectAltName=DNS:${host}`,
      '-keyout',
      keyFile,
      '-out',
      request,
    )
    const authority = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial']
    openssl(
      'x509',
      '-req',
      '-in',
      request,
      ...authority,
      '-days',
      String(days),
      '-copy_extensions',
      'copy',
      '-out',
      certFile,
    )
    return readPair(certFile, keyFile)
  }
  return { ...readPair(file('ca.pem'), file('ca.key')), sign }
}

/** The key with a password. */
export function encryptKey({ keyFile }: Certificate, password: string): string {
  const encrypted = `${keyFile}.encrypted`
  openssl('pkcs8', '-topk8', '-in', keyFile, '-passout', `pass:${password}`, '-out', encrypted)
  return readFileSync(encrypted, 'utf8')
}
