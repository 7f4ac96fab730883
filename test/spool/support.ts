/** Shared by the tests of the spool: directories, chunks made from a number, and child processes. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { adoptSpools, openRunSpool } from '@agent-audit/spool'
import type { Chunk } from '@agent-audit/spool'
import { onTestFinished, vi } from 'vitest'
import { chunkOf, runIdOf, TOPIC } from './chunks.ts'

export { chunkOf, partitionsOf, runIdOf, TOPIC, unassigned } from './chunks.ts'

/** A directory that is removed after the test. */
export function makeTempDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'spool-test-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export interface Child {
  readonly process: ChildProcess
  /** Whole lines printed so far. */
  readonly lines: string[]
  /** Waits until it has printed at least as many lines. */
  printed(count: number): Promise<void>
  /** Waits until it has exited; every line it wrote has arrived then. */
  exited(): Promise<number | null>
  kill(signal: NodeJS.Signals): Promise<void>
}

const PROGRAM = fileURLToPath(new URL('child.ts', import.meta.url))

/** Runs a command of child.ts; killed after the test if it still runs. `prefix` is shell code to run before it. */
export function startChild(args: readonly (string | number)[], prefix = ''): Child {
  const node = [process.execPath, '--conditions=agent-audit-source', PROGRAM, ...args.map(String)]
  const child = spawn('sh', ['-c', `${prefix} exec "$@"`, 'sh', ...node], { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const lines: string[] = []
  let rest = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    if (signal === 'SIGKILL') await closed
  }
  onTestFinished(() => kill('SIGKILL'))
  return {
    process: child,
    lines,
    kill,
    exited: async () => {
      await closed
      return child.exitCode
    },
    printed: (count) =>
      vi.waitFor(
        () => {
          if (lines.length < count) throw new Error(`child printed ${lines.length} lines, not ${count}`)
        },
        { timeout: 30_000, interval: 5 },
      ),
  }
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
