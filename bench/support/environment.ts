/** The machine and the versions of a run. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'

export interface Environment {
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryGb: number
    readonly kernel: string
    /** Load average of the minute before the benchmark began: well below one on an idle machine. */
    readonly loadAverage: number
  }
  readonly versions: Readonly<Record<string, string>>
}

export interface ServerVersions {
  readonly clickhouse: string
  /** Whether Kafka runs outside of the benchmark: then its version is unknown. */
  readonly kafkaAttached: boolean
}

/** Read when this file is loaded, before the benchmark's servers start. */
const loadAverage = loadavg()[0] ?? 0

export function describeEnvironment({ clickhouse, kafkaAttached }: ServerVersions): Environment {
  const cpu = cpus()[0]?.model ?? 'unknown'
  return {
    machine: {
      cpu,
      cores: availableParallelism(),
      memoryGb: Math.round(totalmem() / 2 ** 30),
      kernel: release(),
      loadAverage,
    },
    versions: {
      node: process.versions.node,
      kafka: kafkaAttached ? 'that of KAFKA_BROKERS' : jarsVersion(),
      clickhouse,
      kafkajs: packageVersion('kafkajs'),
      '@clickhouse/client': packageVersion('@clickhouse/client'),
      avsc: packageVersion('avsc'),
      '@platformatic/kafka': packageVersion('@platformatic/kafka'),
      '@opentelemetry/sdk-trace-base': packageVersion('@opentelemetry/sdk-trace-base'),
    },
  }
}

function jarsVersion(): string {
  const pom = readFileSync(new URL('../../stack/kafka/pom.xml', import.meta.url), 'utf8')
  return /<kafka\.version>([^<]+)/.exec(pom)?.[1] ?? 'unknown'
}

function packageVersion(name: string): string {
  // Some packages do not export their package.json: look for it above their entry.
  const entry = createRequire(import.meta.url).resolve(name)
  const root = `${entry.slice(0, entry.lastIndexOf(`node_modules/${name}/`))}node_modules/${name}/package.json`
  return (JSON.parse(readFileSync(root, 'utf8')) as { version: string }).version
}
