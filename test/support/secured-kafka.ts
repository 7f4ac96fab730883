/** A Kafka of the test with secured listeners: TLS, client certificates, SASL; and with certificates that clients must refuse. */
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { freePorts } from '@agent-audit/embedded/internal'
import {
  type KafkaCluster,
  kafkaJarsAvailability,
  SECURED_HOST,
  type ScramUser,
  type SecuredListener,
  setScramUser,
  startKafka,
} from '@agent-audit/stack'
import { afterAll } from 'vitest'
import { type Certificate, type CertificateAuthority, makeAuthority, noOpenssl } from './certificates.ts'

/** Why a test cannot have secured listeners here, as the end of the test's name; empty if it can. Only Kafka's jars have them. */
export function whyNoSecuredKafka(): string {
  if (process.env['KAFKA_BROKERS']) return ' (skipped: needs a Kafka of its own, unset KAFKA_BROKERS)'
  const jars = kafkaJarsAvailability()
  const missing = jars.available ? noOpenssl : jars.reason
  return missing === '' ? '' : ` (skipped: ${missing})`
}

/** SASL demands a client certificate as well. */
const LISTENERS = ['TLS', 'MUTUAL', 'EXPIRED', 'OTHERHOST', 'SASL'] as const
export type ListenerName = (typeof LISTENERS)[number]

export interface SecuredKafka {
  readonly cluster: KafkaCluster
  /** The CA that has signed all certificates. */
  readonly authority: CertificateAuthority
  /** Address of a listener. */
  readonly at: (name: ListenerName) => string
  /** Address of the listener without TLS. */
  readonly open: string
  /** Makes a user of SCRAM, or gives one another password. The user of PLAIN is {@link PLAIN_USER}. */
  readonly setScramUser: (user: ScramUser) => Promise<void>
}

export const PLAIN_USER = { username: 'plain-user', password: 'plain-s3cret' } as const

/** Stopped after the last test of the file. */
export async function startSecuredKafka(): Promise<SecuredKafka> {
  const authority = makeAuthority()
  const own = authority.sign(SECURED_HOST)
  const certificates: Partial<Record<ListenerName, Certificate>> = {
    EXPIRED: authority.sign(SECURED_HOST, { days: -1 }),
    OTHERHOST: authority.sign('elsewhere.example'),
  }
  const ports = await freePorts(LISTENERS.length)
  const secured = LISTENERS.map((name, index): SecuredListener => {
    const { cert, key } = certificates[name] ?? own
    const keystore = join(dirname(authority.certFile), `${name}.pem`)
    writeFileSync(keystore, `${key}${cert}`)
    const tls = {
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': keystore,
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': authority.certFile,
      'ssl.client.auth': name === 'MUTUAL' || name === 'SASL' ? 'required' : 'none',
    }
    const sasl = name === 'SASL'
    return {
      name,
      port: ports[index] ?? 0,
      protocol: sasl ? 'SASL_SSL' : 'SSL',
      properties: sasl ? { ...tls, ...SASL } : tls,
    }
  })
  const cluster = await startKafka({ secured })
  afterAll(() => cluster.stop())
  const open = cluster.brokers[0] ?? ''
  const at = (name: ListenerName): string => `${SECURED_HOST}:${ports[LISTENERS.indexOf(name)]}`
  return { cluster, authority, at, open, setScramUser: (user) => setScramUser(open, user) }
}

const MODULES = 'org.apache.kafka.common.security'
const SASL = {
  'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
  'plain.sasl.jaas.config': `${MODULES}.plain.PlainLoginModule required user_${PLAIN_USER.username}="${PLAIN_USER.password}";`,
  'scram-sha-256.sasl.jaas.config': `${MODULES}.scram.ScramLoginModule required;`,
  'scram-sha-512.sasl.jaas.config': `${MODULES}.scram.ScramLoginModule required;`,
}
