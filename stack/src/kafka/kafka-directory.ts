/** The data directory of a Kafka: one cluster at a time holds it, and the servers that made it go on with it. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { tryLock } from '@agent-audit/embedded/internal'
import { InvalidInputError } from '@agent-audit/schemas'
import { askedSource, type Source } from '../choose-servers.ts'

/** Makes the directory, and holds it until `release`. */
export async function holdDirectory(dataDir: string): Promise<{ release(): void }> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  // Kafka locks its data itself; this lock keeps a second cluster from overwriting the settings of the first.
  const lock = tryLock(join(dataDir, 'owner.lock'))
  if (lock !== undefined) return lock
  throw new InvalidInputError('OPTIONS_INVALID', `Kafka data directory ${dataDir} is in use by another cluster`)
}

/** Notes that the data is in volumes of a Docker engine. */
export async function markContained(dataDir: string): Promise<void> {
  await writeFile(markOf(dataDir), 'The data of this Kafka is in volumes of a Docker engine.\n')
}

/**
 * The servers that run on the directory: those that made its data, else the ones that are chosen.
 * @throws InvalidInputError `OPTIONS_INVALID` if the ones that made it are not to be had.
 */
export function keeperOf(dataDir: string | undefined, chosen: Source): Source {
  if (dataDir === undefined) return chosen
  const wrong = (cause: string): InvalidInputError =>
    new InvalidInputError('OPTIONS_INVALID', `Kafka data directory ${dataDir} ${cause}, or name another directory`)
  if (existsSync(markOf(dataDir))) {
    if (chosen === 'containers') return chosen
    throw wrong('has its data in a Docker volume: start Docker, without AUDIT_SERVERS=local')
  }
  if (!existsSync(join(dataDir, 'node-1', 'data'))) return chosen
  if (askedSource() === 'containers') throw wrong("was made by Kafka's jars: unset AUDIT_SERVERS")
  return 'local'
}

function markOf(dataDir: string): string {
  return join(dataDir, 'in-volumes')
}

/** The cluster's id, made at the first start of a data directory. */
export async function clusterIdOf(dataDir: string): Promise<string> {
  const file = join(dataDir, 'cluster-id')
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const id = newClusterId()
    await writeFile(file, id)
    return id
  }
}

/** 16 random bytes in base64url, as Kafka expects. */
export function newClusterId(): string {
  // Kafka's tool parses an id that begins with a dash as an option.
  return randomBytes(16).toString('base64url').replace(/^-/, 'a')
}
