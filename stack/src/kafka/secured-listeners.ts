/** More listeners of a local node, beside the open one for its own probes, such as TLS with client certificates; and SCRAM users. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { javaCommand } from '../processes/java.ts'
import { KAFKA_LIBS } from './kafka-jars.ts'

export interface SecuredListener {
  /** Upper case letters. */
  readonly name: string
  readonly protocol: 'SSL' | 'SASL_SSL' | 'SASL_PLAINTEXT'
  /** Where it listens, on loopback. */
  readonly port: number
  /** Settings of this listener, such as `ssl.client.auth`. */
  readonly properties: Readonly<Record<string, string>>
}

/** The host name that the listeners advertise: the one that their certificates are checked against. */
export const SECURED_HOST = 'localhost'

/** Adds the listeners to the settings of a node. */
export function addSecuredListeners(settings: Record<string, string>, added: readonly SecuredListener[]): void {
  const append = (setting: string, valueOf: (listener: SecuredListener) => string): void => {
    settings[setting] = [settings[setting], ...added.map(valueOf)].join()
  }
  append('listeners', ({ name, port }) => `${name}://127.0.0.1:${port}`)
  append('advertised.listeners', ({ name, port }) => `${name}://${SECURED_HOST}:${port}`)
  append('listener.security.protocol.map', ({ name, protocol }) => `${name}:${protocol}`)
  for (const { name, properties } of added) {
    for (const [setting, value] of Object.entries(properties)) {
      settings[`listener.name.${name.toLowerCase()}.${setting}`] = value
    }
  }
}

export interface ScramUser {
  readonly mechanism: 'scram-sha-256' | 'scram-sha-512'
  readonly username: string
  readonly password: string
}

/**
 * Makes a user of SCRAM, or gives one another password. By Kafka's own tool: kafkajs has no request for it.
 * @param brokers - Of the open listener.
 */
export async function setScramUser(brokers: string, { mechanism, username, password }: ScramUser): Promise<void> {
  const quick = ['-Xmx128m', '-XX:TieredStopAtLevel=1', '-Dorg.slf4j.simpleLogger.defaultLogLevel=error']
  const tool = [...quick, '-cp', join(KAFKA_LIBS, '*'), 'kafka.admin.ConfigCommand', '--bootstrap-server', brokers]
  const credentials = `${mechanism.toUpperCase()}=[iterations=4096,password=${password}]`
  const change = ['--alter', '--add-config', credentials, '--entity-type', 'users', '--entity-name', username]
  await promisify(execFile)(javaCommand(), [...tool, ...change])
}
