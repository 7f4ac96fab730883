/** "Could not" is never "found", and never a stack trace where the cause is outside of the command. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCli } from '@agent-audit/cli'
import { describe, expect, it } from 'vitest'
import { NO_CLICKHOUSE, startTestServer } from '../analytics/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const COMMAND = fileURLToPath(new URL('../../cli/bin/agent-audit.js', import.meta.url))
const NOT_COMPLETED = 3
const WRONG_USE = 64

/** Runs the command in a shell, as another user where this one may read everything. */
async function shell(line: string, { asNobody = false } = {}) {
  const env = { PATH: process.env['PATH'], NODE: process.execPath, COMMAND }
  const root = process.getuid?.() === 0
  const identity = root && asNobody ? { uid: 65_534, gid: 65_534 } : {}
  const child = spawn('sh', ['-c', line], { env, stdio: ['ignore', 'pipe', 'pipe'], ...identity })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  await once(child, 'close')
  return { code: child.exitCode, out, err }
}

async function run(args: readonly string[], env: Record<string, string> = {}) {
  let [out, err] = ['', '']
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text), env, colors: false })
  return { code, out, err }
}

it('output that cannot be written: one line, exit 3', async () => {
  expect(await shell('"$NODE" "$COMMAND" verify --help >/dev/full')).toEqual({
    code: NOT_COMPLETED,
    out: '',
    err: expect.stringMatching(/^agent-audit: cannot write the output: ENOSPC[^\n]*\n$/),
  })
  expect(await shell('"$NODE" "$COMMAND" verify >/dev/full 2>/dev/full')).toMatchObject({ code: NOT_COMPLETED })
})

it('a directory that may not be read: one line that names it, exit 3', async () => {
  const directory = join(makeTempDirectory(), 'spool')
  mkdirSync(directory, { mode: 0o700 })
  chmodSync(directory, 0o000)
  const { code, out, err } = await shell(`"$NODE" "$COMMAND" spool status ${directory}`, { asNobody: true })
  expect([code, out]).toEqual([NOT_COMPLETED, ''])
  expect(err).toMatch(/^agent-audit: [^\n]*EACCES[^\n]*\n$/)
  expect(err).toContain(directory)
})

it.skipIf(NO_CLICKHOUSE !== undefined)("a data directory of another user's trail: one line, exit 3", async () => {
  const directory = makeTempDirectory()
  chmodSync(directory, 0o755)
  mkdirSync(join(directory, 'clickhouse'))
  chmodSync(join(directory, 'clickhouse'), process.getuid?.() === 0 ? 0o711 : 0o100)
  const { code, out, err } = await shell(`"$NODE" "$COMMAND" sessions --data-dir ${directory}`, { asNobody: true })
  expect([code === NOT_COMPLETED || code === WRONG_USE, out]).toEqual([true, ''])
  expect(err).toMatch(/^agent-audit: [^\n]+\n$/)
})

it.each([[['trail', '-rf']], [['trail', '--rf']], [['dead-letters', 'show', '-x']]])(
  'the error about %j says how to give an id that begins with -',
  async (args) => {
    expect(await run(args)).toEqual({
      code: WRONG_USE,
      out: '',
      err: expect.stringMatching(
        /^agent-audit: unknown option '-[^\n]*; an id that begins with - comes last, after --\n$/,
      ),
    })
    const [name, ...rest] = [...args.slice(0, -1), '--', ...args.slice(-1)]
    expect((await run([name ?? '', ...rest])).err).not.toContain('unknown option')
  },
)

describe.skipIf(NO_CLICKHOUSE !== undefined)(`on a trail with nothing in it ${NO_CLICKHOUSE ?? ''}`, () => {
  it('verify could not check anything: exit 3, and a line that says so; --json prints its object', async () => {
    const tests = await startTestServer()
    const { server } = await tests.newTrail()
    const { url, username, password, database } = server
    const env = {
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
    }
    const text = await run(['verify', '--completeness'], env)
    expect(text).toMatchObject({
      code: NOT_COMPLETED,
      err: expect.stringMatching(/^agent-audit: nothing to verify: [^\n]+\n$/),
    })
    const json = await run(['verify', '--completeness', '--json'], env)
    expect([json.code, json.err]).toEqual([NOT_COMPLETED, text.err])
    expect(JSON.parse(json.out)).toMatchObject({ events: 0, partitions: [], runs: [] })
    expect(await run(['sessions'], env)).toMatchObject({ code: 0, err: '' })
  })
})
