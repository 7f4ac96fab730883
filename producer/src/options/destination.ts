/** Where records go. */
import { join, resolve } from 'node:path'
import { type KafkaConnection, readKafkaEnvironment } from '@agent-audit/kafka'
import type { Issue } from '@agent-audit/schemas'

/** Brokers, the embedded log of a data directory, or the memory of a test trail. */
export type Destination =
  | ({ readonly kind: 'kafka' } & KafkaConnection)
  | { readonly kind: 'embedded'; readonly dataDir: string; readonly fsync: boolean }
  | { readonly kind: 'memory' }

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

export interface ChosenDestination {
  /** undefined: `issues` is not empty. */
  readonly destination: Destination | undefined
  readonly issues: readonly Issue[]
}

/**
 * Brokers or a data directory that the caller names, in the options before the environment. With brokers of the environment,
 * TLS and SASL come from there too, unless the options give them. There is no default: records that land in
 * the working directory without being asked for there are read by no consumer, and count as stored.
 * @param unnamed - Destination where the options name none; then the environment is not read. Undefined: the environment.
 * @returns every wrong variable of the environment beside it.
 */
export function chooseDestination(options: DestinationOptions, unnamed: Destination | undefined): ChosenDestination {
  const { brokers, ssl, sasl, dataDir } = options
  const clientId = options.producerId ?? options.agentId
  if (brokers !== undefined) {
    return { destination: { kind: 'kafka', brokers, ssl: ssl ?? false, sasl, clientId }, issues: [] }
  }
  if (dataDir !== undefined) return { destination: embedded(dataDir, options), issues: [] }
  if (unnamed !== undefined) return { destination: unnamed, issues: [] }
  if (process.env['KAFKA_BROKERS']) {
    const { connection, issues } = readKafkaEnvironment(process.env, { ssl, sasl, clientId })
    return { destination: connection === undefined ? undefined : { kind: 'kafka', ...connection }, issues }
  }
  const named = process.env['AUDIT_DATA_DIR']
  if (named) return { destination: embedded(named, options), issues: [] }
  return { destination: undefined, issues: [NO_DESTINATION] }
}

const NO_DESTINATION: Issue = {
  path: 'brokers',
  expected: 'expected brokers (or KAFKA_BROKERS), or for the embedded log its directory in dataDir (or AUDIT_DATA_DIR)',
}

/** Absolute: delivery opens it later, and again, and the agent may have another working directory by then. */
function embedded(dataDir: string, { fsync }: DestinationOptions): Destination {
  return { kind: 'embedded', dataDir: resolve(dataDir), fsync: fsync ?? false }
}

/** In the working directory of the process. */
const FALLBACK_SPOOL_DIR = './.audit-spool'

/** Where spools lie unless the options say. */
export function defaultSpoolDir(destination: Destination): string {
  const fallback = destination.kind === 'embedded' ? join(destination.dataDir, 'spool') : FALLBACK_SPOOL_DIR
  return process.env['AUDIT_SPOOL_DIR'] || fallback
}

const said = new Set<string>()

/**
 * Says once a process where the spools lie, if nothing names their directory: then another working directory is another spool.
 */
export function sayUnnamedSpoolDir(named: string | undefined, destination: Destination): void {
  const directory = resolve(FALLBACK_SPOOL_DIR)
  if (named !== undefined || defaultSpoolDir(destination) !== FALLBACK_SPOOL_DIR || said.has(directory)) return
  said.add(directory)
  const message = `events wait for the broker in ${directory}, which depends on the working directory: name a directory in spoolDir or AUDIT_SPOOL_DIR`
  process.emitWarning(message, 'AuditTrailWarning', 'SPOOL_DIR_UNNAMED')
}
