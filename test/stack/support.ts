/** Statements to the real servers, and programs that start servers and are killed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { clickHouseAvailability, type Credentials, kafkaAvailability, SERVER_KINDS } from '@agent-audit/stack'
import { expect, onTestFinished, vi } from 'vitest'
import { isRunning } from '../support/is-running.ts'

// These tests are about servers that this machine starts without Docker.
vi.stubEnv('CLICKHOUSE_URL', undefined)
vi.stubEnv('KAFKA_BROKERS', undefined)
vi.stubEnv('AUDIT_SERVERS', 'local')
for (const kind of SERVER_KINDS) vi.stubEnv(`AUDIT_SERVERS_${kind.toUpperCase()}`, 'local')

const clickHouse = clickHouseAvailability()
const kafka = kafkaAvailability()
/** Why these tests cannot run here; undefined if they can. */
export const NO_CLICKHOUSE: string | undefined = clickHouse.available ? undefined : `(skipped: ${clickHouse.reason})`
export const NO_KAFKA: string | undefined = kafka.available ? undefined : `(skipped: ${kafka.reason})`

/** Runs a statement over HTTP. @returns The answer, or the server's refusal. */
export async function ask(url: string, user: Credentials, statement: string): Promise<string> {
  const headers = { 'X-ClickHouse-User': user.username, 'X-ClickHouse-Key': user.password, connection: 'close' }
  const response = await fetch(url, { method: 'POST', body: statement, headers })
  return (await response.text()).trim()
}

export interface Program {
  readonly pid: number
  /** What the program reported about the server it started. */
  readonly part: { readonly pids: readonly number[]; readonly directory: string }
}

/** Starts `test/stack/child.ts` and waits until its part runs. It is killed when the test has finished. */
export async function startProgram(part: 'clickhouse' | 'kafka', directory = ''): Promise<Program> {
  const { child, said } = spawnProgram(part, directory)
  return { pid: child.pid ?? 0, part: JSON.parse(await said) as Program['part'] }
}

/** Starts it; `said` is its first line. */
export function spawnProgram(part: string, directory: string): { child: ChildProcess; said: Promise<string> } {
  const script = fileURLToPath(new URL('child.ts', import.meta.url))
  const args = ['--conditions=agent-audit-source', script, part, directory]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  return { child, said: once(createInterface(child.stdout), 'line').then(([line]) => String(line)) }
}

/** Waits until all of the processes have ended. */
export async function expectGone(pids: readonly number[]): Promise<void> {
  await expect.poll(() => pids.filter(isRunning), { timeout: 30_000 }).toEqual([])
}
