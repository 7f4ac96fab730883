/** The images of the containers. The defaults are those of docker-compose.yml: a test compares the two. */

export type ServerKind = 'kafka' | 'clickhouse' | 'registry'

const DEFAULTS: Readonly<Record<ServerKind, string>> = {
  kafka: 'apache/kafka:4.3.1',
  clickhouse: 'clickhouse/clickhouse-server:26.7',
  registry: 'apicurio/apicurio-registry:3.0.9',
}
/** Removes the containers of a process that has ended. Testcontainers names this one, unless RYUK_CONTAINER_IMAGE does. */
const REAPER = 'testcontainers/ryuk:0.14.0'

/** The image of a server: of AUDIT_KAFKA_IMAGE, AUDIT_CLICKHOUSE_IMAGE or AUDIT_REGISTRY_IMAGE, else the default. */
export function imageOf(kind: ServerKind): string {
  return process.env[`AUDIT_${kind.toUpperCase()}_IMAGE`] || DEFAULTS[kind]
}

export function reaperImage(): string {
  return process.env['RYUK_CONTAINER_IMAGE'] || REAPER
}
