/** The process of the embedded ClickHouse: what its starter learns of its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type ClickHouseServer, startClickHouse } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { NO_CLICKHOUSE } from './support.ts'

async function start(dataDir?: string): Promise<ClickHouseServer> {
  const server = await startClickHouse({ dataDir, users: [] })
  onTestFinished(() => server.stop())
  return server
}

/** The next process that this one starts. */
function nextChild(): Promise<ChildProcess> {
  const { promise, resolve } = Promise.withResolvers<ChildProcess>()
  const take = (message: unknown): void => resolve((message as { process: ChildProcess }).process)
  subscribe('child_process', take)
  return promise.finally(() => unsubscribe('child_process', take))
}

/** Holds this process until the other one has ended, and waits for its parent to learn it. */
function holdUntilEnded({ pid }: ChildProcess): void {
  while (!/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`the process of an embedded ClickHouse ${NO_CLICKHOUSE ?? ''}`, () => {
  it('is heard, though Node.js tells of its end first', async () => {
    const dataDir = makeTempDirectory()
    const owner = await start(dataDir)
    const spawned = nextChild()
    const starting = start(dataDir)
    const host = await spawned
    // Output and end of another process come together. Its output is read first: meanwhile the host speaks, and ends. Then
    // Node.js learns of both ends at once, and reads what the host has said only later.
    const other = spawn('echo', ['some output'], { stdio: ['ignore', 'pipe', 'ignore'] })
    other.stdout.once('data', () => holdUntilEnded(host))
    holdUntilEnded(other)
    const guest = await starting
    expect([guest.attached, guest.url]).toEqual([true, owner.url])
  })

  it('ends with 0 after an orderly stop', async () => {
    const spawned = nextChild()
    const server = await start()
    const ended = once(await spawned, 'exit')
    await server.stop()
    expect(await ended).toEqual([0, null])
  })

  it('ends with 1 when the server cannot start', async () => {
    const broken = startClickHouse({ users: [{ name: 'writer', grants: [], settings: { no_such_setting: '1' } }] })
    await expect(broken).rejects.toThrow(/it ended \(exit code 1\)\n.*Unknown setting 'no_such_setting'/)
  })
})
