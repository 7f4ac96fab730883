/**
 * The partition count last seen of each topic, kept beside the spools: a producer that starts while the broker is out of
 * reach can still choose partitions. Each topic has one file, which is replaced as a whole: two processes that write at
 * once cannot mix their contents, and the last one wins.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { InvalidInputError } from '@agent-audit/schemas'
import { makeDirectory, unavailable } from './database.ts'
import { checkTopic, SPOOL } from './spool-file.ts'

function fileOf(directory: string, topic: string): string {
  checkTopic(topic)
  return join(directory, `topic-${topic}.partitions`)
}

/**
 * Stores the number of partitions of a topic, as the broker's metadata gave it.
 * @throws AuditUnavailableError `SPOOL_UNAVAILABLE` when the directory cannot be written.
 */
export function rememberPartitions(directory: string, topic: string, count: number): void {
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new InvalidInputError('OPTIONS_INVALID', `count: expected a whole number from 1, not ${count}`)
  }
  const file = fileOf(directory, topic)
  const draft = `${file}.${randomUUID()}`
  makeDirectory(SPOOL, directory)
  try {
    writeFileSync(draft, `${count}\n`, { mode: 0o600 })
    renameSync(draft, file)
  } catch (error) {
    rmSync(draft, { force: true })
    throw unavailable(SPOOL, `write ${file}`, error)
  }
}

/** The number of partitions last stored for a topic in this directory; undefined if never seen, or unreadable. */
export function lastPartitions(directory: string, topic: string): number | undefined {
  const file = fileOf(directory, topic)
  try {
    const count = Number(readFileSync(file, 'utf8'))
    return Number.isSafeInteger(count) && count >= 1 ? count : undefined
  } catch {
    return undefined // The same as never seen: the caller then waits for the broker's answer.
  }
}
