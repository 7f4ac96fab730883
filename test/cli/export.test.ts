/** `agent-audit export` as scripts use it: what it says, its exit codes, and kills at any step. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCli } from '@agent-audit/cli'
import { DuckDBInstance } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type SeedRow, seedEvents, type Server } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { draw, takeSeed } from '../support/seed.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const MAIN = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url))
const KILLS = 4

async function run(
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', '']
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text), env, colors: false })
  return { code, out, err }
}

function environment({ url, username, password, database }: Server): Record<string, string> {
  return {
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
  }
}

function rows(count: number, more: SeedRow = {}): SeedRow[] {
  return Array.from({ length: count }, (_, at) => ({
    log_offset: at,
    run_seq: at,
    agent_id: `agent ${at % 40}`,
    timestamp: `2026-11-2${at % 3} 10:00:00`,
    ...more,
  }))
}

const parquetIn = (directory: string): string[] =>
  existsSync(directory)
    ? readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.parquet'))
    : []

/** DuckDB fails on a file that is not whole. */
async function readAll(directory: string): Promise<number[]> {
  const connection = await (await DuckDBInstance.create()).connect()
  const reader = await connection.runAndReadAll(
    `SELECT log_offset::INT AS o FROM '${directory}/events/**/*.parquet' ORDER BY o`,
  )
  return reader.getRowObjects().map(({ o }) => Number(o))
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`agent-audit export ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('says what it has done; done again it says that there is nothing to do, or what it has repaired', async () => {
    const trail = await tests.newTrail()
    const env = environment(trail.server)
    await seedEvents(trail.server, rows(30))
    const directory = join(makeTempDirectory(), 'export')
    const args = ['export', '--since', '2026-11-20', '--until', '2026-11-23', '-o', directory]
    const first = await run(args, env)
    expect(first).toMatchObject({ code: 0, err: '' })
    expect(first.out).toContain(`30 events in 30 files exported to ${directory}\nin all 30 events, 30 files`)
    expect(first.out).toMatch(/complete to [0-9a-f]{16}\/0\/30\n$/)
    const again = await run(['export', '-o', directory], env)
    expect(again).toMatchObject({ code: 0, err: '' })
    expect(again.out).toContain(`nothing to do: ${directory} has the range already\nin all 30 events`)
    const [path = ''] = parquetIn(directory)
    rmSync(join(directory, path))
    expect((await run(['export', '-o', directory], env)).out).toContain('1 file missing or damaged, and written again')
    await seedEvents(trail.server, rows(33).slice(30))
    expect((await run(['export', '-o', directory], env)).out).toContain(
      '3 events stored since then; --update adds them',
    )
    const updated = await run(['export', '-o', directory, '--update', '--json'], env)
    expect(JSON.parse(updated.out)).toMatchObject({ added: [{ rows: 1 }, { rows: 1 }, { rows: 1 }], later: 0 })
  })

  it('an export of nothing is no success; wrong use is named', async () => {
    const trail = await tests.newTrail()
    const env = environment(trail.server)
    const directory = join(makeTempDirectory(), 'export')
    const nothing = await run(['export', '--since', '2026-11-20', '-o', directory], env)
    expect(nothing).toEqual({ code: 1, out: expect.stringContaining('nothing to export') as string, err: '' })
    expect(existsSync(directory)).toBe(false)
    expect(await run(['export', '--since', '2026-11-20'], env)).toMatchObject({
      code: 64,
      err: expect.stringContaining('--out <dir>') as string,
    })
    expect(await run(['export', '-o', directory], env)).toMatchObject({
      code: 64,
      err: expect.stringContaining('needs the start of its range') as string,
    })
    const empty = await run(['export', '--since', '2026-11-22', '--until', '2026-11-21', '-o', directory], env)
    expect(empty).toMatchObject({ code: 64, err: expect.stringContaining('an empty range') as string })
    await seedEvents(trail.server, rows(3))
    await run(['export', '--since', '2026-11-20', '-o', directory], env)
    const other = await run(['export', '--since', '2026-11-21', '-o', directory], env)
    expect(other).toMatchObject({ code: 64, err: expect.stringContaining('another range') as string })
  })

  it('killed at any file, run again, it finishes; only whole files have names', async () => {
    const trail = await tests.newTrail()
    const env = { ...environment(trail.server), PATH: process.env['PATH'] ?? '' }
    await seedEvents(trail.server, rows(600))
    const FILES = 120
    const directory = join(makeTempDirectory(), 'export')
    const args = ['--conditions=agent-audit-source', MAIN, 'export', '--since', '2026-11-20', '-o', directory]
    for (const more of draw(fc.integer({ min: 1, max: 25 }), KILLS, takeSeed('kills of an export'))) {
      const child = spawn(process.execPath, args, { env, stdio: 'ignore' })
      onTestFinished(() => void child.kill('SIGKILL'))
      const closed = once(child, 'close')
      const wanted = Math.min(FILES - 1, parquetIn(directory).length + more)
      await expect.poll(() => parquetIn(directory).length, { interval: 2 }).toBeGreaterThanOrEqual(wanted)
      child.kill('SIGKILL')
      await closed
      expect([child.signalCode, existsSync(join(directory, 'manifest.json'))]).toEqual(['SIGKILL', false])
      const named = parquetIn(join(directory, 'events'))
      expect(await readAll(directory)).toHaveLength(named.length * 5)
    }
    // Without --since: the folder knows its range.
    const { code, out } = await run(['export', '-o', directory], env)
    expect([code, out.split('\n')[0]]).toEqual([0, 'finished what an earlier run had begun'])
    expect(await readAll(directory)).toEqual(Array.from({ length: 600 }, (_, at) => at))
    expect(readdirSync(directory).toSorted()).toEqual(['.export.db', 'events', 'manifest.json'])
    expect((await run(['export', '-o', directory], env)).out).toContain('nothing to do')
  })
})
