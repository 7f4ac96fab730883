/** The exit codes of every command, of `npm start` and of the consumer, as a shell sees them: each test runs the real process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it, onTestFinished } from 'vitest'

const COMMAND = fileURLToPath(new URL('../../cli/bin/agent-audit.js', import.meta.url))
const START = fileURLToPath(new URL('../../start/src/main.ts', import.meta.url))
const CONSUMER = fileURLToPath(new URL('../../consumer/src/main.ts', import.meta.url))
const AWAY = 'http://127.0.0.1:1'
const WRONG_USE = 64
const NOT_COMPLETED = 3

const directory = mkdtempSync(join(tmpdir(), 'agent-audit-exit-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs a script with these variables only, and the path to programs. */
async function run(script: string, args: readonly string[], variables: Record<string, string> = {}): Promise<Ran> {
  const env = { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...variables }
  const node = ['--conditions=agent-audit-source', script, ...args]
  const child = spawn(process.execPath, node, { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  await once(child, 'close')
  return { code: child.exitCode, out, err }
}

it.each([
  [['trail', 's1']],
  [['sessions']],
  [['agents']],
  [['verify', '--completeness']],
  [['dead-letters', 'list']],
  [['dead-letters', 'show', '0123456789abcdef/0/1']],
  [['dead-letters', 'replay', '--all']],
  [['setup']],
])('agent-audit %j: 64 for wrong use, and 3 when the server is away', async (args) => {
  const missing = join(directory, 'none')
  const [option, variable, password, away] = await Promise.all([
    run(COMMAND, [...args, '--colour'], { CLICKHOUSE_URL: AWAY }),
    run(COMMAND, args),
    run(COMMAND, args, { CLICKHOUSE_URL: AWAY, CLICKHOUSE_PASSWORD_FILE: missing }),
    run(COMMAND, args, { CLICKHOUSE_URL: AWAY }),
  ])
  expect(option).toEqual({ code: WRONG_USE, out: '', err: expect.stringMatching(/^agent-audit: unknown option/) })
  expect(variable).toEqual({ code: WRONG_USE, out: '', err: expect.stringMatching(/^agent-audit: .*CLICKHOUSE_URL/) })
  expect(password).toEqual({ code: WRONG_USE, out: '', err: expect.stringMatching(/CLICKHOUSE_PASSWORD_FILE/) })
  expect(away).toEqual({ code: NOT_COMPLETED, out: '', err: expect.stringMatching(/cannot be reached/) })
})

it.each([
  [['nonsense'], WRONG_USE, /unknown command/],
  [['verify'], WRONG_USE, /CLICKHOUSE_URL/],
  [['spool', 'status', '--colour'], WRONG_USE, /unknown option/],
  [['spool', 'status', '/dev/null'], NOT_COMPLETED, /\/dev\/null/],
  [['spool', 'drain', directory], WRONG_USE, /KAFKA_BROKERS/],
  [['spool', 'drain', directory, '--colour'], WRONG_USE, /unknown option/],
])('agent-audit %j: %i', async (args, code, message) => {
  expect(await run(COMMAND, args)).toEqual({ code, out: '', err: expect.stringMatching(message) })
})

it('agent-audit: 3 for a crash, never 1, which says that the command found something', async () => {
  // The command takes a row without any column for an event, and fails on it as on a mistake of its own.
  const server = createServer((_, response) => response.end('{}\n')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { code, out, err } = await run(COMMAND, ['trail', 's1'], { CLICKHOUSE_URL: url })
  expect([code, out]).toEqual([NOT_COMPLETED, ''])
  expect(err).toMatch(/^ +at /m)
})

it('npm start: 64 for a wrong option', async () => {
  expect(await run(START, ['--colour'])).toMatchObject({ code: WRONG_USE, err: expect.stringMatching(/--colour/) })
})

it('consumer: 64 for a wrong setting and an unreadable password file, 3 for a crash', async () => {
  const [setting, password] = await Promise.all([
    run(CONSUMER, [], { HTTP_PORT: 'many' }),
    run(CONSUMER, [], { CLICKHOUSE_PASSWORD_FILE: join(directory, 'none') }),
  ])
  expect(setting).toMatchObject({ code: WRONG_USE, err: expect.stringMatching(/HTTP_PORT/) })
  expect(password).toMatchObject({ code: WRONG_USE, err: expect.stringMatching(/CLICKHOUSE_PASSWORD_FILE/) })
  const mistake = `data:text/javascript,setTimeout(() => { throw new Error('a mistake') })`
  const variables = { HTTP_PORT: '0', AUDIT_DATA_DIR: join(directory, 'data'), NODE_OPTIONS: `--import="${mistake}"` }
  const crash = await run(CONSUMER, [], variables)
  expect(crash).toMatchObject({ code: NOT_COMPLETED, err: expect.stringMatching(/a mistake[^]+ at /) })
})
