/** What this machine can run of the real parts, told cheaply and in one line a person can act on. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { KAFKA_LIBS } from './kafka-jars.ts'
import { REGISTRY_FILES } from './schema-registry-files.ts'

export type Availability = { readonly available: true } | { readonly available: false; readonly reason: string }

const AVAILABLE: Availability = { available: true }
const ELSEWHERE =
  "set CLICKHOUSE_URL and KAFKA_BROKERS (docker-compose.yml brings both up: 'docker compose up -d --wait')"
const LIBRARY_PACKAGE = '@chdb/lib-linux-x64-gnu'
const OLDEST_JAVA = 17

/** Whether {@link startClickHouse} can work here: by CLICKHOUSE_URL, or by the embedded library. */
export function clickHouseAvailability(): Availability {
  if (process.env['CLICKHOUSE_URL']) return AVAILABLE
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return refuse(`The embedded ClickHouse runs on Linux x64, not on ${process.platform} ${process.arch}; ${ELSEWHERE}`)
  }
  if (findLibrary() !== undefined) return AVAILABLE
  return refuse(
    `The embedded ClickHouse (npm package ${LIBRARY_PACKAGE}, for glibc) is not installed: run 'npm ci' without --omit=optional, or ${ELSEWHERE}`,
  )
}

/** Path of libchdb.so, if its package and the foreign-function bridge are installed. */
export function findLibrary(): string | undefined {
  const require = createRequire(import.meta.url)
  try {
    require.resolve('ffi-rs')
    const library = join(dirname(require.resolve(`${LIBRARY_PACKAGE}/package.json`)), 'libchdb.so')
    return existsSync(library) ? library : undefined
  } catch {
    return undefined
  }
}

/** Whether {@link startKafka} can work here: by KAFKA_BROKERS, or by Java and the jars (or Maven, to fetch them). */
export function kafkaAvailability(): Availability {
  if (process.env['KAFKA_BROKERS']) return AVAILABLE
  const instead = "or set KAFKA_BROKERS (docker-compose.yml brings one up: 'docker compose up -d --wait kafka')"
  return javaAvailability({ what: 'A local Kafka', part: "Kafka's jars", files: KAFKA_LIBS, instead })
}

/** Whether {@link startSchemaRegistry} can work here: by SCHEMA_REGISTRY_URL, or as {@link kafkaAvailability}. */
export function schemaRegistryAvailability(): Availability {
  if (process.env['SCHEMA_REGISTRY_URL']) return AVAILABLE
  const instead = 'or set SCHEMA_REGISTRY_URL'
  return javaAvailability({ what: 'A local schema registry', part: 'it', files: REGISTRY_FILES, instead })
}

function javaAvailability(need: { what: string; part: string; files: string; instead: string }): Availability {
  const { what, part, files, instead } = need
  const java = javaVersion()
  if (java < OLDEST_JAVA) {
    const found = java === 0 ? 'no Java was found' : `Java ${java} is too old`
    return refuse(`${what} needs Java ${OLDEST_JAVA} or newer, and ${found}: install Java and Maven, ${instead}`)
  }
  if (!existsSync(files) && findExecutable('mvn') === undefined) {
    return refuse(`${what} needs Maven once, to fetch ${part}, and mvn was not found: install Maven, ${instead}`)
  }
  return AVAILABLE
}

/** The Java to run: JAVA_HOME's, else the one on the PATH. */
export function javaCommand(): string {
  const home = process.env['JAVA_HOME']
  return home === undefined || home === '' ? 'java' : join(home, 'bin', 'java')
}

let knownJava: number | undefined

function javaVersion(): number {
  if (knownJava === undefined) {
    const { stderr } = spawnSync(javaCommand(), ['-version'], { encoding: 'utf8', timeout: 20_000 })
    const [, major, minor] = /version "(\d+)(?:\.(\d+))?/.exec(stderr ?? '') ?? []
    // Java 8 and older call themselves 1.8.
    knownJava = Number((major === '1' ? minor : major) ?? 0)
  }
  return knownJava
}

function findExecutable(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function refuse(reason: string): Availability {
  return { available: false, reason }
}
