/**
 * Where the servers come from that no variable names: containers where a Docker engine can run them, else this machine's own
 * (Kafka's jars, the embedded ClickHouse). One process of a run chooses, its children follow: the choice of each server is
 * in the environment.
 */
import { type Availability, embeddedAvailability } from '@agent-audit/embedded/internal'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { type DockerEngine, findEngine } from './containers/docker-engine.ts'
import { imageOf, reaperImage, type ServerKind } from './containers/images.ts'
import { kafkaJarsAvailability } from './kafka/kafka-jars.ts'
import { registryFilesAvailability } from './registry/registry-files.ts'

export type Source = 'containers' | 'local'

export const SERVER_KINDS: readonly ServerKind[] = ['kafka', 'clickhouse', 'registry']

/** The variable that names a running server, and whether this machine can run one without Docker. */
const SERVERS: Readonly<Record<ServerKind, { readonly named: string; readonly local: () => Availability }>> = {
  kafka: { named: 'KAFKA_BROKERS', local: kafkaJarsAvailability },
  clickhouse: { named: 'CLICKHOUSE_URL', local: embeddedAvailability },
  registry: { named: 'SCHEMA_REGISTRY_URL', local: registryFilesAvailability },
}

/** The variable that hands a choice to the children of this process. */
function chosenBy(kind: ServerKind): string {
  return `AUDIT_SERVERS_${kind.toUpperCase()}`
}

/** The value of AUDIT_SERVERS; undefined: what is best here. */
export function askedSource(): Source | undefined {
  const asked = process.env['AUDIT_SERVERS']
  if (!asked) return undefined
  if (asked === 'containers' || asked === 'local') return asked
  throw new InvalidInputError('OPTIONS_INVALID', `AUDIT_SERVERS "${asked}": expected containers or local`)
}

/** The choice for a server, as far as it is made: this machine's own before {@link chooseServers}. */
export function sourceOf(kind: ServerKind): Source {
  return process.env[chosenBy(kind)] === 'containers' ? 'containers' : 'local'
}

/**
 * Chooses, once in a run, where these servers come from. An engine that has the images runs them. One that lacks an image
 * gets it from its registry where containers are asked for, or where this machine has no server of its own.
 * @param say - Gets one line for each thing that a person would want to know.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if AUDIT_SERVERS asks for containers, and they cannot be had;
 * InvalidInputError `OPTIONS_INVALID` for another value of AUDIT_SERVERS than containers and local.
 */
export async function chooseServers(kinds: readonly ServerKind[], say: (line: string) => void = warn): Promise<void> {
  const asked = askedSource()
  const open = kinds.filter((kind) => !process.env[SERVERS[kind].named] && process.env[chosenBy(kind)] === undefined)
  if (open.length === 0) return
  const contained = asked === 'local' ? [] : await containable(open, asked === 'containers', say)
  for (const kind of open) process.env[chosenBy(kind)] = contained.includes(kind) ? 'containers' : 'local'
}

function warn(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** Those of the servers that are to run in containers. */
async function containable(
  kinds: readonly ServerKind[],
  demanded: boolean,
  say: (line: string) => void,
): Promise<readonly ServerKind[]> {
  const engine = await findEngine(demanded)
  if (engine === undefined) {
    if (!demanded) return []
    const where = process.env['DOCKER_HOST'] || 'its default sockets'
    throw unavailable(`no Docker engine answers at ${where}: start Docker, or set DOCKER_HOST`)
  }
  const missing = await engine
    .missing([...new Set([...kinds.map(imageOf), reaperImage()])])
    .catch((error: Error) => error.message)
  if (typeof missing === 'string') {
    if (demanded) throw unavailable(missing)
    say(`${missing}: ${named(kinds)} without containers`)
    return []
  }
  const lacks = (kind: ServerKind): boolean => missing.includes(imageOf(kind)) || missing.includes(reaperImage())
  const pulled = kinds.filter((kind) => lacks(kind) && (demanded || !SERVERS[kind].local().available))
  const without = kinds.filter((kind) => lacks(kind) && !pulled.includes(kind))
  if (without.length > 0) {
    say(
      `Docker answers at ${engine.name} without the images ${missing.join(', ')}: ${named(without)} without containers; AUDIT_SERVERS=containers pulls them`,
    )
  }
  const failed = await pullFor(engine, pulled, { missing, demanded, say })
  return kinds.filter((kind) => !without.includes(kind) && !failed.includes(kind))
}

/** Gets the missing images of these servers. @returns The servers whose images could not be had. */
async function pullFor(
  engine: DockerEngine,
  kinds: readonly ServerKind[],
  { missing, demanded, say }: { missing: readonly string[]; demanded: boolean; say: (line: string) => void },
): Promise<readonly ServerKind[]> {
  const failures = new Map<string, string>()
  const images = new Set(
    kinds.flatMap((kind) => [imageOf(kind), reaperImage()]).filter((each) => missing.includes(each)),
  )
  for (const image of images) {
    say(`Docker pulls the image ${image} ...`)
    const failure = await engine.pull(image)
    if (failure === undefined) continue
    if (demanded) throw unavailable(`Docker at ${engine.name} has no image ${image}, and cannot pull it: ${failure}`)
    say(`Docker at ${engine.name} cannot pull ${image}: ${failure}`)
    failures.set(image, failure)
  }
  return kinds.filter((kind) => failures.has(imageOf(kind)) || failures.has(reaperImage()))
}

function named(kinds: readonly ServerKind[]): string {
  const names = { kafka: 'Kafka', clickhouse: 'ClickHouse', registry: 'the schema registry' }
  return `${kinds.map((kind) => names[kind]).join(', ')} ${kinds.length === 1 ? 'runs' : 'run'}`
}

function unavailable(cause: string): AuditUnavailableError {
  return new AuditUnavailableError('PART_UNAVAILABLE', `AUDIT_SERVERS asks for containers: ${cause}`)
}
