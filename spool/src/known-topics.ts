/**
 * What was last seen of each topic, kept beside the spools: its cluster and its number of partitions. A producer that starts
 * while the broker is out of reach can still choose partitions, and its spool says for which cluster it probably records. Each
 * topic has one file, which is replaced as a whole: two processes that write at once cannot mix their contents, and the last
 * one wins.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { InvalidInputError } from '@agent-audit/schemas'
import { makeDirectory, unavailable } from './database.ts'
import { checkTopic, SPOOL } from './spool-file.ts'

/** A topic of one cluster. */
export interface KnownTopic {
  /** Id of the Kafka cluster, or of the embedded log. */
  readonly cluster: string
  readonly partitions: number
}

/** @throws InvalidInputError `OPTIONS_INVALID` when a topic cannot have this number of partitions. */
export function checkPartitions(count: number): void {
  if (Number.isSafeInteger(count) && count >= 1) return
  throw new InvalidInputError('OPTIONS_INVALID', `partitions: expected a whole number from 1, not ${count}`)
}

function fileOf(directory: string, topic: string): string {
  checkTopic(topic)
  return join(directory, `topic-${topic}.json`)
}

/**
 * Stores what the broker's metadata said of a topic.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the directory cannot be written.
 */
export function rememberTopic(directory: string, topic: string, { cluster, partitions }: KnownTopic): void {
  checkPartitions(partitions)
  const file = fileOf(directory, topic)
  const draft = `${file}.${randomUUID()}`
  makeDirectory(SPOOL, directory)
  try {
    writeFileSync(draft, `${JSON.stringify({ cluster, partitions })}\n`, { mode: 0o600 })
    renameSync(draft, file)
  } catch (error) {
    rmSync(draft, { force: true })
    throw unavailable(SPOOL, `write ${file}`, error)
  }
}

/** What was last stored of a topic in this directory; undefined if never seen, or unreadable. */
export function lastKnownTopic(directory: string, topic: string): KnownTopic | undefined {
  const file = fileOf(directory, topic)
  try {
    const { cluster, partitions } = JSON.parse(readFileSync(file, 'utf8')) as Partial<KnownTopic>
    if (typeof cluster !== 'string' || partitions === undefined) return undefined
    checkPartitions(partitions)
    return { cluster, partitions }
  } catch {
    return undefined // The same as never seen: the caller then waits for the broker's answer.
  }
}
