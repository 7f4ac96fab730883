/** One way to a real ClickHouse: the server that CLICKHOUSE_URL names, else one in a container, else the embedded one. */
import type { ClickHouseServer } from '@agent-audit/embedded'
import {
  type Availability,
  embeddedAvailability,
  type Running,
  startEmbedded,
  track,
  type UserSpec,
} from '@agent-audit/embedded/internal'
import { AuditUnavailableError, InvalidInputError, urlFault } from '@agent-audit/schemas'
import { askedSource, chooseServers, sourceOf } from '../choose-servers.ts'
import { attachNamed } from './named-clickhouse.ts'

const USER_NAME = /^(?!(default|admin)$)[a-z_]\w*$/i
const ELSEWHERE = 'start Docker, or set CLICKHOUSE_URL and KAFKA_BROKERS to use other servers'

export interface ClickHouseOptions<Name extends string = string> {
  /**
   * Where the server keeps its data, made when missing. A container, which keeps it in a volume of the engine, serves a
   * directory only where the embedded server cannot run, or where AUDIT_SERVERS asks for it: `agent-audit --data-dir` reads
   * the directory by the embedded server. @defaultValue a temporary directory, or a temporary volume, removed by `stop`.
   */
  readonly dataDir?: string | undefined
  /** Users besides `admin`, which has all rights. Their names are identifiers: letters, digits, underscores. */
  readonly users: readonly UserSpec<Name>[]
  /** Upper bound of the server's memory, bytes. @defaultValue 4,000,000,000 */
  readonly maxMemoryBytes?: number | undefined
}

/** Whether {@link startClickHouse} can work here: by CLICKHOUSE_URL, by a container, or by the embedded library. */
export function clickHouseAvailability(): Availability {
  if (process.env['CLICKHOUSE_URL'] || sourceOf('clickhouse') === 'containers') return { available: true }
  const embedded = embeddedAvailability()
  return embedded.available ? embedded : { available: false, reason: `${embedded.reason}; ${ELSEWHERE}` }
}

/**
 * Starts a real ClickHouse, or attaches to one: the server CLICKHOUSE_URL names (administered as CLICKHOUSE_USER with
 * CLICKHOUSE_PASSWORD; the users are made there), or the live embedded one of the same data directory.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if there is no way to one, saying what to install or to set;
 * InvalidInputError `OPTIONS_INVALID` for a user name that is no identifier.
 */
export async function startClickHouse<const Name extends string = never>(
  options: ClickHouseOptions<Name>,
): Promise<ClickHouseServer<Name>> {
  const wrong = options.users.find((user) => !USER_NAME.test(user.name))
  if (wrong !== undefined) {
    const message = `user name "${wrong.name}": expected letters, digits and underscores, and neither default nor admin`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }
  return track(await open(options))
}

async function open<Name extends string>(options: ClickHouseOptions<Name>): Promise<Running<Name>> {
  const url = process.env['CLICKHOUSE_URL']
  if (url) {
    const fault = urlFault(url)
    if (fault !== undefined) throw new InvalidInputError('OPTIONS_INVALID', `CLICKHOUSE_URL: ${fault}`)
    const username = process.env['CLICKHOUSE_USER'] ?? 'default'
    return attachNamed(url, { username, password: process.env['CLICKHOUSE_PASSWORD'] ?? '' }, options.users)
  }
  if (await inContainer(options.dataDir)) {
    // Loaded for a container alone: it takes half a second.
    const { startContained } = await import('./container-clickhouse.ts')
    return startContained(options)
  }
  const availability = clickHouseAvailability()
  if (!availability.available) throw new AuditUnavailableError('PART_UNAVAILABLE', availability.reason)
  return startEmbedded(options)
}

async function inContainer(dataDir: string | undefined): Promise<boolean> {
  const isEmbedded = dataDir !== undefined && askedSource() !== 'containers' && embeddedAvailability().available
  if (isEmbedded) return false
  await chooseServers(['clickhouse'])
  return sourceOf('clickhouse') === 'containers'
}
