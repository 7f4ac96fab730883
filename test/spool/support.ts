/** Shared by the tests of the spool: directories, chunks made from a number, and child processes. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { adoptSpools, openRunSpool } from '@agent-audit/spool'
import type { Chunk } from '@agent-audit/spool'
import { type Child, startPrinting } from '../support/printing-program.ts'
import { chunkOf, runIdOf, TOPIC } from './chunks.ts'

export { chunkOf, partitionsOf, runIdOf, TOPIC, unassigned } from './chunks.ts'

const PROGRAM = fileURLToPath(new URL('child.ts', import.meta.url))

/** Runs a command of child.ts. `prefix` is shell code that runs before it. */
export function startChild(args: readonly (string | number)[], prefix = ''): Child {
  const node = [process.execPath, '--conditions=agent-audit-source', PROGRAM, ...args.map(String)]
  return startPrinting('sh', ['-c', `${prefix} exec "$@"`, 'sh', ...node])
}

/** A chunk with its typed arrays as plain lists, so that a difference shows in full. */
export function plain(chunk: Chunk): object {
  const { bytes, ends, keyStarts, keyLengths, partitions, firstSeq } = chunk
  return {
    bytes: Buffer.from(bytes).toString('latin1'),
    ends: [...ends],
    keyStarts: [...keyStarts],
    keyLengths: [...keyLengths],
    partitions: [...partitions],
    firstSeq,
  }
}

/** Bytes: no limit. */
export const ALL: number = 2 ** 40

/** Leaves the spool of a dead run with some chunks behind; returns its file. */
export function leaveSpool(directory: string, number: number, chunks = 20): string {
  const spool = openRunSpool({ directory, runId: runIdOf(number), topic: TOPIC, maxBytes: ALL, fsync: false })
  for (let index = 0; index < chunks; index++) spool.append(chunkOf(index * 20, 20))
  spool.close()
  return spool.file
}

/** Runs adopted, each with its number of chunks; they are closed again. */
export function adoptAll(directory: string): { runs: Record<string, number>; damaged: number; skipped: number } {
  const { spools, damaged, skipped } = adoptSpools({ directory })
  const runs: Record<string, number> = {}
  for (const spool of spools) {
    runs[spool.runId] = spool.read(0, ALL).length
    spool.close()
  }
  return { runs, damaged: damaged.length, skipped: skipped.length }
}

/** The one spool in a directory. */
export function spoolOf(directory: string): string {
  const name = readdirSync(directory).find((entry) => entry.endsWith('.spool')) ?? ''
  return join(directory, name)
}

/** Changes a database file behind the back of the spool. */
export function runSql(file: string, sql: string): void {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
}
