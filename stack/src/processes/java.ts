/** The Java that Kafka and the schema registry run on. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Availability } from '@agent-audit/embedded/internal'

const OLDEST_JAVA = 17

export interface JavaNeed {
  /** The server to run, as the subject of a sentence. */
  readonly server: string
  /** The files that Maven fetches, as the object of a sentence. */
  readonly part: string
  /** Folder of those files: there and whole, or not there. */
  readonly files: string
  /** What to do instead of installing Java. */
  readonly instead: string
}

/** Whether a server can run here: on Java, from files that are there or that Maven can fetch. */
export function javaAvailability({ server, part, files, instead }: JavaNeed): Availability {
  const java = javaVersion()
  if (java < OLDEST_JAVA) {
    const found = java === 0 ? 'no Java was found' : `Java ${java} is too old`
    return refuse(`${server} needs Java ${OLDEST_JAVA} or newer, and ${found}: install Java and Maven, ${instead}`)
  }
  if (!existsSync(files) && findExecutable('mvn') === undefined) {
    return refuse(`${server} needs Maven once, to fetch ${part}, and mvn was not found: install Maven, ${instead}`)
  }
  return { available: true }
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
