/** One way to a real schema registry: the one SCHEMA_REGISTRY_URL names, else Apicurio, a Java program, in memory. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { javaCommand, schemaRegistryAvailability } from './availability.ts'
import { freePorts } from './free-port.ts'
import { GuardedProcess } from './guarded-process.ts'
import { track } from './lifetime.ts'
import { fetchByMaven } from './maven.ts'
import { REGISTRY_FILES, REGISTRY_VERSION } from './schema-registry-files.ts'

const START_TIMEOUT_MS = 90_000
const PROBE_TIMEOUT_MS = 2000
const STOP_GRACE_MS = 10_000
const POLL_MS = 100
const PORT_ATTEMPTS = 3
const CONFLUENT_API = '/apis/ccompat/v7'

export interface SchemaRegistryServer extends AsyncDisposable {
  /** Root of the Confluent Schema Registry API. */
  readonly url: string
  /** Whether somebody else runs it: then `stop` leaves it alone. */
  readonly attached: boolean
  stop(): Promise<void>
}

/**
 * Starts a real schema registry, empty, or names the running one of SCHEMA_REGISTRY_URL.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if there is none to be had, saying what to install or to set.
 */
export async function startSchemaRegistry(): Promise<SchemaRegistryServer> {
  const named = process.env['SCHEMA_REGISTRY_URL']
  if (named) return track({ url: named, attached: true, stop: () => Promise.resolve() })
  const availability = schemaRegistryAvailability()
  if (!availability.available) throw new AuditUnavailableError('PART_UNAVAILABLE', availability.reason)
  const artifact = `io.apicurio:apicurio-registry-app:${REGISTRY_VERSION}:zip:all`
  const files = await fetchByMaven({
    target: REGISTRY_FILES,
    argsInto: (folder) => ['dependency:unpack', `-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`],
    failure: 'The schema registry could not be fetched by Maven; set SCHEMA_REGISTRY_URL to use a running one.',
  })
  // Between finding a free port and its use another process may take it: then once more, with another port.
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
  // The guard looks after this folder and the one around it, so that one has to be ours too.
  const temporaryDir = join(directory, 'node')
  await mkdir(temporaryDir)
  const server = await GuardedProcess.start({
    command: javaCommand(),
    args: [
      '-Xmx512m',
      `-Djava.io.tmpdir=${temporaryDir}`,
      '-Dquarkus.http.host=127.0.0.1',
      `-Dquarkus.http.port=${port}`,
      '-jar',
      join(files, `apicurio-registry-app-${REGISTRY_VERSION}-runner.jar`),
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

async function untilReady(url: string, server: GuardedProcess): Promise<void> {
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
