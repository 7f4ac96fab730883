/** What the tests of `npm start` share: runs on new directories, and recordings to replay. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TrailEvent } from '@agent-audit/analytics'
import { openDataDir } from '@agent-audit/embedded'
import { embeddedAvailability } from '@agent-audit/stack'
import { afterAll, onTestFinished, vi } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'

const START = fileURLToPath(new URL('../../start/src/main.ts', import.meta.url))
const COMMAND = fileURLToPath(new URL('../../cli/bin/agent-audit.js', import.meta.url))
const SOURCE = '--conditions=agent-audit-source'

// Each test starts ClickHouse, a consumer and more: on a busy machine that takes many times longer than on an idle one.
vi.setConfig({ testTimeout: 150_000 })

// A data directory is the embedded server's, which the command reads, unless containers are asked for.
vi.stubEnv('AUDIT_SERVERS', undefined)

const clickHouse = embeddedAvailability()
/** Why the tests of this folder cannot run here; undefined if they can. */
export const NO_CLICKHOUSE: string | undefined = clickHouse.available ? undefined : clickHouse.reason

export interface Run {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The last line of `--json`. */
export interface Summary {
  readonly accepted: number
  readonly stored: number
  readonly duplicates: number
  readonly dead_letters: number
  readonly sessions: number
  readonly seconds: number
  readonly by_type: Readonly<Record<string, number>>
}

export interface RunningStart {
  readonly child: ChildProcess
  /** Resolves once its standard error matches. */
  said(pattern: RegExp): Promise<void>
  readonly ended: Promise<Run>
}

/**
 * A data directory for all tests of a file, with its ClickHouse running: each `npm start` on it attaches to that server, and
 * does not start one.
 */
export async function openSharedDirectory(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'start-test-'))
  const dataDir = await openDataDir(directory)
  afterAll(async () => {
    await dataDir.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return directory
}

/** Starts `npm start` without npm. It is killed after the test, if it still runs. */
export function launch(args: readonly string[], env: Readonly<Record<string, string>> = {}): RunningStart {
  const child = spawn(process.execPath, [SOURCE, START, ...args], {
    // The embedded log, where a test does not ask for another.
    env: { ...process.env, KAFKA_BROKERS: '', ...env },
    stdio: 'pipe',
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  return {
    child,
    ended: once(child, 'close').then(() => ({ exitCode: child.exitCode, stdout, stderr })),
    async said(pattern) {
      while (!pattern.test(stderr)) await Promise.race([once(child.stderr, 'data'), once(child, 'close').then(failed)])
    },
  }
  function failed(): never {
    throw new Error(`npm start ended early: ${stderr}`)
  }
}

export function start(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Run> {
  return launch(args, env).ended
}

export function summaryOf({ stdout }: Run): Summary {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as Summary
}

/** Runs `agent-audit` on the data directory. */
export async function command(dataDir: string, args: readonly string[]): Promise<Run> {
  const child = spawn(process.execPath, [COMMAND, ...args, '--data-dir', dataDir], { stdio: 'pipe' })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  await once(child, 'close')
  return { exitCode: child.exitCode, stdout, stderr }
}

export async function trailOf(dataDir: string, session: string): Promise<TrailEvent[]> {
  return JSON.parse((await command(dataDir, ['trail', session, '--json'])).stdout) as TrailEvent[]
}

/** Process ids of the children a process has now. */
export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
  return text
    .split(' ')
    .filter((part) => part !== '')
    .map(Number)
}

/** One recorded session, in the OpenAI chat format. */
export function recordedSession(
  session: string,
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    session,
    agent: 'desk',
    model: 'm-1',
    user: 'u-1',
    reward: 0.5,
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Two lookups, please.' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [toolCall('c1', 'find', '{"b":1,"a":2}'), toolCall('c1', 'look', '{broken')],
      },
      { role: 'tool', tool_call_id: 'c1', name: 'find', content: 'first' },
      { role: 'tool', tool_call_id: 'c1', name: 'look', content: 'second' },
      { role: 'assistant', content: 'Found both.' },
      { role: 'user', content: 'Thanks.' },
      { role: 'tool', tool_call_id: 'c9', name: 'stray', content: 'no call has this id' },
    ],
    ...more,
  }
}

function toolCall(id: string, name: string, text: string): Record<string, unknown> {
  return { id, type: 'function', function: { name, arguments: text } }
}

export function lines(...values: readonly unknown[]): string {
  return values.map((value) => `${typeof value === 'string' ? value : JSON.stringify(value)}\n`).join('')
}

/** Writes a recording; it is removed after the test. */
export function writeRecording(name: string, data: string | Uint8Array): string {
  const file = join(makeTempDirectory(), name)
  writeFileSync(file, data)
  return file
}
