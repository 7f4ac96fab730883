/** Kafka's own jars from Maven Central, fetched once into the checkout's cache. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { waitForLock } from './file-lock.ts'

const FETCH_TIMEOUT_MS = 600_000

const STACK: string = fileURLToPath(new URL('..', import.meta.url))
const POM: string = join(STACK, 'kafka', 'pom.xml')
const VERSION: string = /<kafka\.version>(.+)<\/kafka\.version>/.exec(readFileSync(POM, 'utf8'))?.[1] ?? ''
/** Folder of the jars: there and whole, or not there. */
export const KAFKA_LIBS: string = join(STACK, '..', 'node_modules', '.cache', 'agent-audit', `kafka-${VERSION}`)

/** Fetches the jars unless they are there. Two processes at once: one fetches, the other waits for it. */
export async function fetchKafkaJars(): Promise<string> {
  if (existsSync(KAFKA_LIBS)) return KAFKA_LIBS
  await mkdir(dirname(KAFKA_LIBS), { recursive: true })
  const lock = await waitForLock(`${KAFKA_LIBS}.lock`)
  try {
    if (!existsSync(KAFKA_LIBS)) await fetchInto(KAFKA_LIBS)
  } finally {
    lock.release()
  }
  return KAFKA_LIBS
}

/** By way of a draft that is renamed when it is whole: a fetch that was cut short leaves no half set of jars. */
async function fetchInto(target: string): Promise<void> {
  const draft = `${target}.draft`
  await rm(draft, { recursive: true, force: true })
  const args = ['-q', '-B', '-f', POM, 'dependency:copy-dependencies', `-DoutputDirectory=${draft}`]
  try {
    await promisify(execFile)('mvn', args, { timeout: FETCH_TIMEOUT_MS })
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    const said = `${stdout}\n${stderr}`.trim().split('\n').slice(0, 5).join('\n')
    const message = `Kafka's jars could not be fetched by Maven; set KAFKA_BROKERS to use a running Kafka. Maven said:\n${said}`
    throw new AuditUnavailableError('PART_UNAVAILABLE', message, { cause: error })
  }
  await rename(draft, target)
}
