/** What the tests of the producer share: directories, trails over the embedded log, and the rows that landed there. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type AuditTrail, type AuditTrailOptions, createAuditTrail } from '@agent-audit/producer'
import { findSchema, JSON_FIELDS, readFrame } from '@agent-audit/schemas'
import { embeddedLogFile, openEmbeddedLogReader } from '@agent-audit/spool'
import { existsSync } from 'node:fs'
import { onTestFinished, vi } from 'vitest'
import type { Message } from '../support/kafka-topic.ts'

/** A directory that is removed after the test. */
export function makeTempDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'producer-test-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }))
  return directory
}

/** A trail over an embedded log in `dataDir`, closed after the test; what it has not sent by then stays unsent. */
export function openTrail(options: Partial<AuditTrailOptions>): AuditTrail {
  const trail = createAuditTrail({ agentId: 'agent-1', handleExit: false, ...options })
  onTestFinished(async () => void (await trail.close({ timeoutMs: 0 })))
  return trail
}

/** A decoded record, with JSON fields parsed, bytes as hex, and fields that are null left out. */
export type Row = Record<string, unknown> & {
  readonly event_type: string
  readonly event_id: string
  readonly session_id: string
  readonly run_seq: number
  readonly session_seq: number
  readonly step_number: number
  readonly timestamp: number
  readonly partition: number
  readonly offset: number
}

const PARSED_FIELDS: ReadonlySet<string> = new Set(JSON_FIELDS)

/** Decodes a message in single-object encoding, with the schema its header names. */
export function decodeRow(value: Uint8Array, place: { partition: number; offset: number }): Row {
  const message = Buffer.from(value)
  const frame = readFrame(message)
  if (frame.kind !== 'single-object') throw new Error(`not in single-object encoding: ${frame.kind}`)
  const fields = findSchema(frame.fingerprint)?.avroType.fromBuffer(message.subarray(frame.bodyStart)) as object
  const row: Record<string, unknown> = { ...place }
  for (const [name, field] of Object.entries(fields) as [string, unknown][]) {
    if (field === null) continue
    if (Buffer.isBuffer(field)) row[name] = field.toString('hex')
    else row[name] = PARSED_FIELDS.has(name) ? tryParse(field as string) : field
  }
  return row as Row
}

/** A cut field is no JSON any more. */
function tryParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Messages of a topic as rows, in the order of run_seq. */
export function rowsOf(messages: readonly Message[]): Row[] {
  return messages
    .map(({ value, ...place }) => decodeRow(value, place))
    .toSorted((one, other) => one.run_seq - other.run_seq)
}

/** Everything in the embedded log of a directory, in the order of run_seq (and of runs, if there are several). */
export function readRows(dataDir: string, topic = 'audit.events'): Row[] {
  if (!existsSync(embeddedLogFile(dataDir))) return []
  const log = openEmbeddedLogReader({ directory: dataDir })
  try {
    const rows: Row[] = []
    for (let partition = 0; partition < (log.partitions(topic) ?? 0); partition++) {
      const { start, end } = log.bounds(topic, partition)
      for (let next = start; next < end;) {
        for (const { offset, value } of log.read(topic, partition, next, 2 ** 20)) {
          rows.push(decodeRow(value ?? new Uint8Array(), { partition, offset }))
          next = offset + 1
        }
      }
    }
    return rows.toSorted((one, other) => one.run_seq - other.run_seq)
  } finally {
    log.close()
  }
}

/** The rows of sessions, without those of the trail's own. */
export function sessionRows(dataDir: string): Row[] {
  return readRows(dataDir).filter(({ session_id: id }) => !id.startsWith('trail:'))
}

export interface Child {
  readonly process: ChildProcess
  /** Whole lines printed so far. */
  readonly lines: string[]
  /** Waits until it has printed as many lines. */
  printed(count: number): Promise<void>
  /** Waits until it is gone; every line it wrote has arrived then. */
  exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null; stderr: string }>
}

const PROGRAM = fileURLToPath(new URL('process/child.ts', import.meta.url))

/** Runs a command of child.ts in a process of its own; killed after the test if it still runs. */
export function startChild(...args: readonly string[]): Child {
  return startNode([], [PROGRAM, ...args])
}

/** The same with a module of this folder loaded first, in each of its threads. */
export function startChildWith(preload: { module: string; workers?: boolean }, ...args: readonly string[]): Child {
  const load = ['--import', new URL(preload.module, import.meta.url).href]
  return startNode([...load, ...(preload.workers === false ? NO_WORKERS : [])], [PROGRAM, ...args])
}

/** The same for a program in process/apps/. */
export function startApp(file: string, ...args: readonly string[]): Child {
  return startNode([], [fileURLToPath(new URL(`process/apps/${file}`, import.meta.url)), ...args])
}

/** Options of Node that forbid worker threads. */
const NO_WORKERS = ['--permission', '--allow-fs-read=*', '--allow-fs-write=*']

/** The same where Node forbids worker threads. */
export function startChildWithoutWorkers(...args: readonly string[]): Child {
  return startNode(NO_WORKERS, [PROGRAM, ...args])
}

/** Why no disk of its own can be given to a child here; undefined where it can. */
export const NO_OWN_DISK: string | undefined =
  spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0
    ? undefined
    : '(skipped: needs unshare and user namespaces, to mount a small disk)'

/** The same with a disk of its own mounted on a directory, which nobody else sees and which is gone afterwards. */
export function startChildOnDisk(disk: { directory: string; options: string }, ...args: readonly string[]): Child {
  const mount = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
  const before = ['unshare', '-rm', 'sh', '-c', mount, 'sh', disk.options, disk.directory]
  return startNode([], [PROGRAM, ...args, disk.directory], before)
}

function startNode(nodeOptions: readonly string[], args: readonly string[], before: readonly string[] = []): Child {
  const node = [process.execPath, ...nodeOptions, '--conditions=agent-audit-source', ...args]
  const [file = '', ...command] = [...before, ...node]
  const child = spawn(file, command, { stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  const lines: string[] = []
  let rest = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await closed
  })
  return {
    process: child,
    lines,
    exited: async () => {
      await closed
      return { code: child.exitCode, signal: child.signalCode, stderr }
    },
    printed: (count) =>
      vi.waitFor(
        () => {
          if (lines.length < count) throw new Error(`child printed ${lines.length} lines, not ${count}: ${stderr}`)
        },
        { timeout: 30_000, interval: 5 },
      ),
  }
}
