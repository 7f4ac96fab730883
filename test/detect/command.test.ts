/** `agent-audit detect` on a real store: its output, its exit codes, and what hostile text may not do. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCli } from '@agent-audit/cli'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Server } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { idAt, seed } from './support.ts'

const SHIM = fileURLToPath(new URL('../../cli/bin/agent-audit.js', import.meta.url))
const OWN = fileURLToPath(new URL('../../examples/my-detector.ts', import.meta.url))
const ESCAPE = '\u001B'
const ONLY = ['--module', OWN, '--only', 'acme.refund_at_night']

async function run(args: readonly string[], server?: Server): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', '']
  const env = server === undefined ? {} : environment(server)
  const code = await runCli(['detect', ...args], {
    out: (text) => (out += text),
    err: (text) => (err += text),
    env,
    colors: false,
  })
  return { code, out, err }
}

function environment(server: Server): Record<string, string> {
  const { url, username, password, database } = server
  return {
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
  }
}

const NIGHT = {
  session_id: 's1',
  agent_id: `shop${ESCAPE}[2J`,
  event_type: 'tool_call',
  tool_name: 'refund',
  tool_input: { order: `7${ESCAPE}]0;owned` },
  timestamp: '2026-11-24 03:00:00',
}

function fileOf(text: string): string {
  const path = join(makeTempDirectory(), 'thresholds.json')
  writeFileSync(path, text)
  return path
}

describe('without a server', () => {
  it.each([
    [['run', '--module', 'no-such-file.ts'], /module no-such-file\.ts: /],
    [
      ['run', '--module', fileURLToPath(import.meta.resolve('../../examples/loop.ts'))],
      /expected an export `detectors`/,
    ],
    [
      ['run', '--module', OWN, '--only', 'acme.refund_at_nite'],
      /no such detector; did you mean acme\.refund_at_night\?/,
    ],
    [
      ['run', '--module', OWN, '--thresholds', '{"acme.refund_at_night": {"last_hours": 3}, "acme.refund": {}}'],
      /acme\.refund_at_night\.last_hours: no such threshold; did you mean last_hour\?; acme\.refund: no such detector; did you mean acme\.refund_at_night\?/,
    ],
    [['run', '--module', OWN, '--thresholds', '{"acme.refund_at_night": {"last_hour": "3"}}'], /expected a number/],
    [['explain', 'nonsense'], /expected a finding_id/],
    [['suppress', '--by', 'ana', '--reason', 'known', '--agent', 'a'], /either a finding, or all of/],
    [['list', '--state', 'closed'], /Allowed choices are open, acknowledged/],
    [['list', '--severity', 'grave'], /Allowed choices are info, low, medium, high, critical/],
    [['list', '--since', 'yesterday'], /expected a duration such as 24h or 7d, or a date/],
    [['list', '--limit', '0'], /expected a whole number from 1 to 100000/],
    [['run', '--alert-severity', 'grave'], /Allowed choices are info/],
    [['watch', '--every', '0'], /expected a whole number from 1 to 3600/],
    [
      [
        'suppress',
        '--by',
        'ana',
        '--reason',
        'known',
        '--detector',
        'loop.cycle',
        '--agent',
        'a',
        '--until',
        '2020-01-01',
      ],
      /expected a time to come/,
    ],
  ])('%j is wrong use', async (args, message) => {
    const { code, err } = await run(args.map((arg) => (arg.startsWith('{') ? fileOf(arg) : arg)))
    expect([code, err]).toEqual([64, expect.stringMatching(message)])
    expect(err.trim().split('\n')).toHaveLength(1)
  })

  it('lists the detectors of a module, with what they find and their thresholds', async () => {
    const { code, out } = await run(['list', '--detectors', '--module', OWN])
    expect([code, out]).toEqual([
      0,
      expect.stringMatching(/acme\.refund_at_night version 1\n.*\n.*\n.*\n {2}thresholds: first_hour 0, last_hour 5/),
    ])
  })
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`with a store ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('runs, lists and explains: recorded text moves no cursor', async () => {
    const trail = await tests.emptyTrail()
    await seed(trail.server, [0], NIGHT)
    expect(await run(['run', ...ONLY], tests.server('detector'))).toEqual({
      code: 0,
      out: 'judged 1 new event, read 1 session: 1 new finding, 0 alerts\n',
      err: '',
    })
    const again = await run(['run', ...ONLY, '--json'], tests.server('detector'))
    expect(JSON.parse(again.out)).toMatchObject({ events: 0, findings: 0, failed: [] })
    expect(again.err).toBe('agent-audit: nothing new in the log\n')
    const list = await run(['list'], trail.server)
    expect(list.out).toMatch(/medium +open +acme\.refund_at_night +shop\\u001b\[2J +refund at 03:00 UTC/)
    const [finding] = JSON.parse((await run(['list', '--json'], trail.server)).out) as { finding_id: string }[]
    const explained = await run(['explain', finding?.finding_id ?? '', '--module', OWN], trail.server)
    expect(explained.out).toContain('thresholds: first_hour 0, last_hour 5')
    expect(explained.out).toMatch(/hour +3 +0 to 5 /)
    expect(explained.out).toMatch(new RegExp(`${idAt(0)} +2026-11-24 03:00:00 +tool_call +refund +.*owned`))
    expect(list.out + explained.out).not.toContain(ESCAPE)
  })

  it.each([
    [['--agent', 'other'], 0],
    [['--severity', 'high'], 0],
    [['--severity', 'low'], 1],
    [['--detector', 'acme.refund_at_night'], 1],
    [['--session', 's1'], 1],
    [['--state', 'acknowledged'], 0],
    [['--since', '1h'], 1],
  ])('list %j filters', async (filter, count) => {
    const trail = await tests.emptyTrail()
    await seed(trail.server, [0], NIGHT)
    await run(['run', ...ONLY], tests.server('detector'))
    expect(JSON.parse((await run(['list', ...filter, '--json'], trail.server)).out)).toHaveLength(count)
  })

  it.each([
    [['list', '--detector', 'acme.refund_at_nite'], 64, /no such detector; did you mean acme\.refund_at_night\?/],
    [['list', '--detector', 'loop.repeated_cal'], 64, /no such detector; did you mean loop\.repeated_call\?/],
    [['list', '--detector', `x' OR 1=1 --${ESCAPE}[2J`], 64, /--detector x' OR 1=1 --\\u001b\[2J: no such detector/],
    [['explain', '00000000-0000-8000-8000-000000000000'], 1, /no finding 00000000-\S+; `agent-audit detect list`/],
    [['ack', '00000000-0000-8000-8000-000000000000', '--by', 'ana', '--reason', 'x'], 64, /no finding 00000000-/],
    [
      ['suppress', '--by', 'ana', '--reason', 'x', '--detector', 'loop.cycl', '--agent', 'a', '--until', '7d'],
      64,
      /no such detector; did you mean loop\.\w+\?/,
    ],
  ])('%j says what is not there', async (args, exitCode, message) => {
    const trail = await tests.emptyTrail()
    await seed(trail.server, [0], NIGHT)
    await run(['run', ...ONLY], tests.server('detector'))
    const { code, out, err } = await run(args, tests.server('reader'))
    expect([code, out, err]).toEqual([exitCode, '', expect.stringMatching(message)])
    expect(err).not.toContain(ESCAPE)
  })

  it('replaces thresholds, which stand in the finding', async () => {
    const trail = await tests.emptyTrail()
    await seed(trail.server, [0], { ...NIGHT, timestamp: '2026-11-24 07:00:00' })
    const thresholds = fileOf('{"acme.refund_at_night": {"last_hour": 8}}')
    await run(['run', ...ONLY, '--thresholds', thresholds], tests.server('detector'))
    const found = JSON.parse((await run(['list', '--json'], trail.server)).out) as unknown
    expect(found).toMatchObject([{ thresholds: { first_hour: 0, last_hour: 8 } }])
  })

  it('watches: finds what arrives, says how far it is behind, and ends in order at SIGTERM', async () => {
    const trail = await tests.emptyTrail()
    const args = ['detect', 'watch', ...ONLY, '--every', '1', '--json', '--metrics-port', '0']
    const child = spawn(process.execPath, ['--conditions=agent-audit-source', SHIM, ...args], {
      env: { ...process.env, ...environment(tests.server('detector')) },
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const exited = once(child, 'exit')
    let [out, err] = ['', '']
    child.stdout.on('data', (data: Buffer) => (out += data.toString()))
    child.stderr.on('data', (data: Buffer) => (err += data.toString()))
    await expect.poll(() => err).toMatch(/watching with 1 detector, metrics at http:\S+/)
    await seed(trail.server, [0], NIGHT)
    await expect.poll(() => out).toMatch(/"unit":"session","events":1,"sessions":1,"findings":1/)
    const [, url = ''] = /metrics at (\S+)/.exec(err) ?? []
    const metrics = await (await fetch(url)).text()
    expect(metrics).toMatch(/^audit_detect_findings_total 1$/m)
    expect(metrics).toMatch(/^audit_detect_lag_seconds\{unit="session"\} \d/m)
    child.kill('SIGTERM')
    expect(await exited).toEqual([0, null])
  })

  it.each([
    [
      'admin',
      1,
      /^agent-audit: the user \S+ may do more than a detector, which reads the trail and inserts findings: revoke /,
    ],
    ['writer', 1, /^agent-audit: the user \S+ may do more than a detector, .* INSERT ON \S+\.audit_events/],
    ['reader', 3, /^agent-audit: the user \S+ may do less than a detector, .*: grant INSERT ON \S+\.audit_findings; /],
  ] as const)('run and watch refuse the %s before they judge anything', async (user, exitCode, message) => {
    const trail = await tests.emptyTrail()
    await seed(trail.server, [0], NIGHT)
    for (const command of ['run', 'watch']) {
      const { code, err } = await run([command, ...ONLY], tests.server(user))
      expect([code, err.replace(/^agent-audit: watching .*\n/, '')]).toEqual([exitCode, expect.stringMatching(message)])
    }
    expect(JSON.parse((await run(['list', '--json'], trail.server)).out)).toEqual([])
  })

  it('exits with 3 when a detector fails', async () => {
    const trail = await tests.emptyTrail()
    await seed(trail.server, [0], NIGHT)
    const module = join(makeTempDirectory(), 'broken.mjs')
    const broken = {
      name: 'acme.broken',
      version: 1,
      unit: 'session',
      finds: '',
      method: '',
      source: '',
      candidates: 'true',
    }
    writeFileSync(
      module,
      `export default { ...${JSON.stringify(broken)}, thresholds: {}, find() { throw new Error('broken') } }`,
    )
    const failed = await run(['run', '--module', module, '--only', 'acme.broken'], tests.server('detector'))
    expect([failed.code, failed.err]).toEqual([3, 'agent-audit: failed: acme.broken\n'])
    const [finding] = JSON.parse((await run(['list', '--json'], trail.server)).out) as unknown[]
    expect(finding).toMatchObject({ detector: 'detector.failed', severity: 'high' })
  })
})
