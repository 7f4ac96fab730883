/** One way to a real schema registry: the one SCHEMA_REGISTRY_URL names, else Apicurio, a Java program, in memory. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Availability, freePorts, track } from '@agent-audit/embedded/internal'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { javaAvailability, javaCommand } from '../processes/java.ts'
import { cached, fetchByMaven } from '../processes/maven.ts'
import { SupervisedProcess } from '../processes/supervised-process.ts'

const VERSION = '3.0.9'
/** Folder of the program: there and whole, or not there. */
const FILES = cached(`apicurio-registry-${VERSION}`)
const START_TIMEOUT_MS = 90_000
const PROBE_TIMEOUT_MS = 2000
const STOP_GRACE_MS = 10_000
const POLL_MS = 100
const PORT_ATTEMPTS = 3
const CONFLUENT_API = '/apis/ccompat/v7'

export interface SchemaRegistryServer extends AsyncDisposable {
  /** Root of the Confluent Schema Registry API. */
  readonly url: string
  /** Whether SCHEMA_REGISTRY_URL names it: then `stop` leaves it alone. */
  readonly attached: boolean
  stop(): Promise<void>
}

/** Whether {@link startSchemaRegistry} can work here: by SCHEMA_REGISTRY_URL, or by Java and the program (or Maven, to fetch it). */
export function schemaRegistryAvailability(): Availability {
  if (process.env['SCHEMA_REGISTRY_URL']) return { available: true }
  const instead = 'or set SCHEMA_REGISTRY_URL'
  return javaAvailability({ server: 'A local schema registry', part: 'it', files: FILES, instead })
}

/**
 * Starts a real schema registry, empty, or names the running one of SCHEMA_REGISTRY_URL.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if neither is available, saying what to install or to set.
 */
export async function startSchemaRegistry(): Promise<SchemaRegistryServer> {
  const named = process.env['SCHEMA_REGISTRY_URL']
  if (named) return track({ url: named, attached: true, stop: () => Promise.resolve() })
  const availability = schemaRegistryAvailability()
  if (!availability.available) throw new AuditUnavailableError('PART_UNAVAILABLE', availability.reason)
  const artifact = `io.apicurio:apicurio-registry-app:${VERSION}:zip:all`
  const files = await fetchByMaven({
    target: FILES,
    argsInto: (folder) => ['dependency:unpack', `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`],
    failure: 'The schema registry could not be fetched by Maven; set SCHEMA_REGISTRY_URL to use a running one.',
  })
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
      join(files, `apicurio-registry-app-${VERSION}-runner.jar`),
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
  while (!(await answers(url))) {
    if (server.isAlive && Date.now() < deadline) {
      await sleep(POLL_MS)
      continue
    }
    const what = server.isAlive ? `did not answer within ${START_TIMEOUT_MS / 1000} s` : 'ended at its start'
    throw new AuditUnavailableError('PART_UNAVAILABLE', `schema registry at ${url} ${what}:\n${server.lastLines()}`)
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/subjects`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}
