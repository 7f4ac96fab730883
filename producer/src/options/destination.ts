/** Where records go. */
import { join } from 'node:path'
import type { AuditTrailOptions, SaslOptions, SslOptions } from '../api/trail-options.ts'

/** Brokers, or the embedded log of a data directory. */
export type Destination =
  | {
      readonly kind: 'kafka'
      readonly brokers: readonly string[]
      readonly ssl: boolean | SslOptions
      readonly sasl: SaslOptions | undefined
      readonly clientId: string
    }
  | { readonly kind: 'embedded'; readonly dataDir: string; readonly fsync: boolean }

/** Brokers that are named, in the options or the environment; else the embedded log. */
export function chooseDestination(options: AuditTrailOptions): Destination {
  const fromEnv = options.dataDir === undefined ? splitList(process.env['KAFKA_BROKERS']) : []
  const brokers = options.brokers ?? fromEnv
  if (brokers.length === 0) {
    const dataDir = options.dataDir ?? (process.env['AUDIT_DATA_DIR'] || './.audit-data')
    return { kind: 'embedded', dataDir, fsync: options.fsync ?? false }
  }
  const clientId = options.producerId ?? options.agentId
  return { kind: 'kafka', brokers, ssl: options.ssl ?? false, sasl: options.sasl, clientId }
}

function splitList(text: string | undefined): string[] {
  return (text ?? '').split(',').flatMap((part) => part.trim() || [])
}

/** Where spools lie unless the options say. */
export function defaultSpoolDir(destination: Destination): string {
  const fallback = destination.kind === 'embedded' ? join(destination.dataDir, 'spool') : './.audit-spool'
  return process.env['AUDIT_SPOOL_DIR'] || fallback
}
