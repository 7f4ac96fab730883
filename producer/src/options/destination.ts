/** Where records go. */
import { join } from 'node:path'
import { type KafkaConnection, readKafkaEnvironment } from '@agent-audit/kafka'
import type { Issue } from '@agent-audit/schemas'

/** Brokers, or the embedded log of a data directory. */
export type Destination =
  | ({ readonly kind: 'kafka' } & KafkaConnection)
  | { readonly kind: 'embedded'; readonly dataDir: string; readonly fsync: boolean }

/** The options that say where records go. */
export interface DestinationOptions {
  readonly brokers?: KafkaConnection['brokers'] | undefined
  readonly ssl?: KafkaConnection['ssl'] | undefined
  readonly sasl?: KafkaConnection['sasl']
  readonly agentId: string
  readonly producerId?: string | undefined
  readonly dataDir?: string | undefined
  readonly fsync?: boolean | undefined
}

/**
 * Brokers that are named, in the options or the environment; else the embedded log. With brokers of the environment, TLS
 * and SASL come from there too, unless the options give them.
 * @returns every wrong variable of the environment beside it.
 */
export function chooseDestination(options: DestinationOptions): { destination: Destination; issues: readonly Issue[] } {
  const { brokers, ssl, sasl } = options
  const clientId = options.producerId ?? options.agentId
  if (brokers !== undefined && brokers.length > 0) {
    return { destination: { kind: 'kafka', brokers, ssl: ssl ?? false, sasl, clientId }, issues: [] }
  }
  if (options.dataDir === undefined && process.env['KAFKA_BROKERS']) {
    const { connection, issues } = readKafkaEnvironment(process.env, { ssl, sasl, clientId })
    if (connection !== undefined) return { destination: { kind: 'kafka', ...connection }, issues }
    return { destination: embedded(options), issues }
  }
  return { destination: embedded(options), issues: [] }
}

function embedded({ dataDir, fsync }: DestinationOptions): Destination {
  return {
    kind: 'embedded',
    dataDir: dataDir ?? (process.env['AUDIT_DATA_DIR'] || './.audit-data'),
    fsync: fsync ?? false,
  }
}

/** Where spools lie unless the options say. */
export function defaultSpoolDir(destination: Destination): string {
  const fallback = destination.kind === 'embedded' ? join(destination.dataDir, 'spool') : './.audit-spool'
  return process.env['AUDIT_SPOOL_DIR'] || fallback
}
