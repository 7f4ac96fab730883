/** One way to a real schema registry: the one SCHEMA_REGISTRY_URL names, else Apicurio, in a container or as a Java program, in memory. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Availability, freePorts, track } from '@agent-audit/embedded/internal'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { chooseServers, sourceOf } from '../choose-servers.ts'
import { javaCommand } from '../processes/java.ts'
import { SupervisedProcess } from '../processes/supervised-process.ts'
import { CONFLUENT_API, registryAnswers } from './registry-api.ts'
import { fetchRegistry, REGISTRY_JAR, registryFilesAvailability } from './registry-files.ts'

const START_TIMEOUT_MS = 90_000
const STOP_GRACE_MS = 10_000
const POLL_MS = 100
const PORT_ATTEMPTS = 3

export interface SchemaRegistryServer extends AsyncDisposable {
  /** Root of the Confluent Schema Registry API. */
  readonly url: string
  /** Whether SCHEMA_REGISTRY_URL names it: then `stop` leaves it alone. */
  readonly attached: boolean
  stop(): Promise<void>
}

/** Whether {@link startSchemaRegistry} can work here: by SCHEMA_REGISTRY_URL, a container, or Java and the program. */
export function schemaRegistryAvailability(): Availability {
  if (process.env['SCHEMA_REGISTRY_URL'] || sourceOf('registry') === 'containers') return { available: true }
  return registryFilesAvailability()
}

/**
 * Starts a real schema registry, empty, or names the running one of SCHEMA_REGISTRY_URL.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if there is no way to one, saying what to install or to set.
 */
export async function startSchemaRegistry(): Promise<SchemaRegistryServer> {
  const named = process.env['SCHEMA_REGISTRY_URL']
  if (named) return track({ url: named, attached: true, stop: () => Promise.resolve() })
  await chooseServers(['registry'])
  if (sourceOf('registry') === 'containers') {
    const { startContained } = await import('./container-registry.ts')
    return track({ ...(await startContained()), attached: false })
  }
  const availability = registryFilesAvailability()
  if (!availability.available) throw new AuditUnavailableError('PART_UNAVAILABLE', availability.reason)
  const files = await fetchRegistry()
  // Another process may take a free port between its choice and its use: then start once more, with another port.
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(files)
    } catch (error) {
      if (!/already in use|already bound/i.test(String(error)) || attempt === PORT_ATTEMPTS) throw error
    }
  }
}

async function startOnce(files: string): Promise<SchemaRegistryServer> {
  const [port = 0] = await freePorts(1)
  const directory = await mkdtemp(join(tmpdir(), 'agent-audit-registry-'))
  // The parent watch removes this folder, and its parent folder once that is empty of folders: so both must be ours.
  const temporaryDir = join(directory, 'node')
  await mkdir(temporaryDir)
  const server = await SupervisedProcess.start({
    command: javaCommand(),
    args: [
      '-Xmx512m',
      `-Djava.io.tmpdir=${temporaryDir}`,
      '-Dquarkus.http.host=127.0.0.1',
      `-Dquarkus.http.port=${port}`,
      '-jar',
      join(files, REGISTRY_JAR),
    ],
    outputFile: join(directory, 'server.out'),
    graceMs: STOP_GRACE_MS,
    temporaryDir,
  })
  const stop = async (): Promise<void> => {
    await server.stop()
    await rm(directory, { recursive: true, force: true })
  }
  const url = `http://127.0.0.1:${port}${CONFLUENT_API}`
  try {
    await untilReady(url, server)
  } catch (error) {
    await stop()
    throw error
  }
  return track({ url, attached: false, stop })
}

async function untilReady(url: string, server: SupervisedProcess): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS
  while (!(await registryAnswers(url))) {
    if (server.isAlive && Date.now() < deadline) {
      await sleep(POLL_MS)
      continue
    }
    const what = server.isAlive ? `did not answer within ${START_TIMEOUT_MS / 1000} s` : 'ended at its start'
    throw new AuditUnavailableError('PART_UNAVAILABLE', `schema registry at ${url} ${what}:\n${server.lastLines()}`)
  }
}
