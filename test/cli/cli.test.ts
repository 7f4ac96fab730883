/** The command as people and scripts use it: its output and its exit codes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { completeness, sessionTrail } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { openDataDir } from '@agent-audit/embedded'
import { beforeAll, describe, expect, it } from 'vitest'
import { duplicateOf, lostOf } from '../analytics/completeness-support.ts'
import {
  LOG_ID,
  runId,
  type SeedRow,
  seedEvents,
  seedNotes,
  seedRunNotes,
  seedSkipped,
  type Server,
} from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const SHIM = fileURLToPath(new URL('../../cli/bin/agent-audit.js', import.meta.url))
const ESCAPE = '\u001B'
const LONG = 'word '.repeat(100)

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  let out = ''
  let err = ''
  const code = await runCli(args, { out: (text) => (out += text), err: (text) => (err += text), env, colors: false })
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

/** A session of the last minute: an injected text with an escape sequence, a refused call, a long answer. */
function recentSession(): SeedRow[] {
  const start = Date.now() - 60_000
  const rows: SeedRow[] = [
    { event_type: 'session_start', user_id: 'u1', content: { user_message: `Cancel it\nplease${ESCAPE}[2J` } },
    {
      event_type: 'llm_call',
      output_text: null,
      tool_calls_requested: [{ name: 'cancel', input: { id: 7 } }],
      input_tokens: 1204,
    },
    {
      event_type: 'tool_call',
      tool_name: 'cancel',
      tool_input: { id: 7 },
      outcome: 'denied',
      reason: 'needs approval',
      step_number: 1,
    },
    { event_type: 'error', error: 'boom', error_type: 'TypeError', agent_id: 'helper' },
    { event_type: 'final_output', output_text: LONG },
    { event_type: 'session_end', outcome: 'success' },
  ]
  return rows.map((row, index) => ({
    ...row,
    log_offset: index,
    run_seq: index,
    timestamp: new Date(start + index * 1000).toISOString().replace('T', ' ').replace('Z', '001'),
  }))
}

describe('without a server', () => {
  it.each([
    [['trail'], /missing required argument 'session'/],
    [['nonsense'], /unknown command/],
    [['sessions', '--since', 'yesterday'], /--since.*expected a duration such as 24h/],
    [['agents', '--limit', '0'], /--limit.*whole number from 1/],
    [['sessions', '--by', 'log_time'], /--by.*expected event-time or log-time/],
    [['sessions'], /CLICKHOUSE_URL.*--data-dir/],
    [['verify'], /CLICKHOUSE_URL.*--data-dir/],
    [['verify', '--trust', '/nowhere'], /\/nowhere: cannot be read/],
    [['verify', '--checkpoints', '/nowhere'], /need --trust/],
    [['verify', '--partition', 'x'], /--partition.*expected a number/],
    [['sessions', '--data-dir', '/nowhere'], /no trail in "\/nowhere"/],
  ])('wrong use %j: one line on stderr, exit 64', async (args, message) => {
    const { code, out, err } = await run(args)
    expect(err).toMatch(message)
    expect(err).toMatch(/^agent-audit: [^\n]+\n$/)
    expect([code, out]).toEqual([64, ''])
  })

  it('help names every command and explains the exit codes', async () => {
    const { code, out } = await run(['--help'])
    expect(code).toBe(0)
    for (const word of [
      'trail',
      'sessions',
      'agents',
      'verify',
      'dead-letters',
      'quarantine',
      'setup',
      'CLICKHOUSE_URL',
      'Exit codes',
      '4 gaps',
    ]) {
      expect(out).toContain(word)
    }
    expect((await run(['verify', '--help'])).out.replaceAll('\n', ' ')).toContain(
      '0 verified, 1 tampering, 2 incomplete: sealed records are not stored, stored ones not sealed, or numbers have gaps, 3 could not check: a key, a schema or a checkpoint is missing, or nothing is stored, 64 wrong use. With --completeness alone also 4: gaps that only another run or a dead letter explains.',
    )
  })

  it('an unreachable server: one line that names it, exit 3', async () => {
    const { code, err } = await run(['verify', '--completeness'], { CLICKHOUSE_URL: 'http://127.0.0.1:1' })
    expect(err).toMatch(
      /^agent-audit: ClickHouse at 127\.0\.0\.1:1 cannot be reached: ECONNREFUSED \(asked as user .*\)\n$/,
    )
    expect(code).toBe(3)
  })
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`on a real ClickHouse ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  async function seeded(rows: readonly SeedRow[] = recentSession()) {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows)
    return { trail, env: environment(trail.server) }
  }

  it('trail: a heading and a line for each event, in order, cut, without control characters for the terminal', async () => {
    const { env } = await seeded()
    const { code, out } = await run(['trail', 's1'], env)
    expect(code).toBe(0)
    const [who = '', what = '', , titles = '', ...lines] = out.trimEnd().split('\n')
    expect(who).toBe('session s1 · agents support, helper · user u1 · ended (success)')
    expect(what).toMatch(/ UTC, 5\.0 s · 6 events · 1 LLM call · 1 tool call · 1 error · tokens 1,204 in, - out$/)
    expect(titles).toMatch(/^TIME +STEP +EVENT +TOOL +TEXT$/)
    expect(lines.map((line) => line.replace(/^\d\d:\d\d:\d\d\.\d{3} +/, '').replaceAll(/ {2,}/g, '  '))).toEqual([
      '0  session_start  Cancel it please\\u001b[2J',
      '0  llm_call  -> cancel({"id":7})',
      '1  tool_call  cancel denied  needs approval | {"id":7}',
      '0  error  TypeError: boom',
      `0  final_output  ${LONG.slice(0, 199)}…`,
      '0  session_end  success',
    ])
    expect(out).not.toContain(ESCAPE)
  })

  it('trail: whose authority, what effect, which policy and approval, in front of long texts', async () => {
    const call = { event_type: 'tool_call', tool_name: 'refund', tool_input: { note: LONG } }
    const policy = { id: 'refunds', version: '7', digest: 'sha256:1' }
    const person = { approver_kind: 'person', identity_source: 'https://id.example', modified: ['tool_input.amount'] }
    const self = { ...person, self_approval: true }
    const { env } = await seeded(
      [
        { ...call, outcome: 'denied', reason_code: 'policy_denied', policy, on_behalf_of: 'service:billing' },
        { ...call, outcome: 'allowed', approval_status: 'approved', approver_id: 'ann', approval: person },
        { event_type: 'tool_result', tool_name: 'refund', tool_output: 'sent', effect: 'dispatched' },
        { event_type: 'tool_result', tool_name: 'refund', tool_output: 'done', effect: 'confirmed' },
        { event_type: 'approval_decision', approver_id: 'limits', approval: { approver_kind: 'policy' } },
        { event_type: 'approval_decision', approver_id: 'ann', approval: self, tool_input: { amount: 9 } },
        { event_type: 'acme.refund', policy: 'no JSON', approval: 'no JSON', reason: 'r' },
      ].map((row, index) => ({ ...row, log_offset: index, run_seq: index })),
    )
    const { out } = await run(['trail', 's1'], env)
    const texts = out.trimEnd().split('\n').slice(4)
    const text = LONG.slice(0, 20)
    expect(texts[0]).toContain(`as service:billing | policy refunds 7 | policy_denied | {"note":"${text}`)
    expect(texts[1]).toContain(`approved by ann (https://id.example), changed tool_input.amount | {"note":"${text}`)
    expect(texts[2]).toMatch(/effect dispatched \| sent$/)
    expect(texts[3]).toMatch(/ {2}done$/)
    expect(texts[4]).toMatch(/by limits \(policy\)$/)
    const changed = 'by ann (https://id.example, who asked for it), changed tool_input.amount | {"amount":9}'
    expect(texts[5]).toContain(changed)
    expect(texts[6]).toMatch(/policy \| r$/)
  })

  it('trail --full cuts nothing, --type and --agent filter', async () => {
    const { env } = await seeded()
    const full = await run(['trail', 's1', '--full', '--type', 'final_output', '--type', 'error'], env)
    expect(full.out).toContain(LONG.trimEnd())
    expect(full.out).toContain('2 of 6 events shown')
    expect(full.out).not.toContain('needs approval')
    const agent = await run(['trail', 's1', '--agent', 'helper', '--json'], env)
    expect((JSON.parse(agent.out) as { event_type: string }[]).map((event) => event.event_type)).toEqual(['error'])
  })

  it('trail --json prints what sessionTrail returns', async () => {
    const { env, trail } = await seeded()
    const { out } = await run(['trail', 's1', '--json'], env)
    expect(JSON.parse(out)).toEqual(await sessionTrail(trail, 's1'))
  })

  it('an unknown session: one line, exit 1', async () => {
    const { env } = await seeded()
    expect(await run(['trail', 'unknown'], env)).toEqual({
      code: 1,
      out: '',
      err: 'agent-audit: no session "unknown" in the trail; `agent-audit sessions` lists them\n',
    })
  })

  it('sessions and agents: aligned columns; a value that was not recorded is a dash, in JSON null', async () => {
    const { env } = await seeded()
    const { out } = await run(['sessions'], env)
    const [titles = '', line = ''] = out.split('\n')
    expect(line).toMatch(/^s1 +support +u1 .* ended, success +6 +1 +1 +1 +1,204 +-$/)
    expect(line.length).toBe(titles.length)
    expect(JSON.parse((await run(['sessions', '--json'], env)).out)).toMatchObject([
      { input_tokens: 1204, output_tokens: null },
    ])
    const agents = await run(['agents', '--since', '2h'], env)
    expect(agents.out).toMatch(/^AGENT.*\nsupport +1 +5 .*\nhelper +1 +1 .*\n$/)
    expect((await run(['agents', '--until', '1h'], env)).out).toMatch(/^no events since/)
    // The log appended the seeded rows on a day of the past.
    for (const command of ['sessions', 'agents'])
      expect((await run([command, '--by', 'log-time', '--since', '2h', '--json'], env)).out).toBe('[]\n')
    expect((await run(['agents', '--until', '1h', '--json'], env)).out).toBe('[]\n')
  })

  it('verify --completeness: what an expiry note explains is complete, what one says wrongly is exit 1', async () => {
    const { env, trail } = await seeded(recentSession().filter((_, index) => index > 1))
    await seedNotes(trail.server, [{ first_offset: 0, last_offset: 1 }])
    await seedRunNotes(trail.server, [{ first_run_seq: 0, last_run_seq: 1 }])
    const good = await run(['verify', '--completeness'], env)
    expect(good.code).toBe(0)
    expect(good.out).toMatch(/^COMPLETE {2}4 events, nothing missing, nothing repeated, 2 offsets expired\n/)
    expect(good.out).toContain('1 run: 0 closed, 1 open; 2 of their numbers have expired\n')

    await seedNotes(trail.server, [{ first_offset: 3, last_offset: 3 }])
    const bad = await run(['verify', '--completeness'], env)
    expect(bad.code).toBe(1)
    expect(bad.out).toMatch(/^OVERSTATED {2}4 events, \d offsets? wrongly noted as expired\n/)
    expect(bad.out).toMatch(/audit\.events partition 0: \d offsets? wrongly noted as expired: the rows say otherwise\n/)
  })

  it('verify --completeness: exit 0 complete, 1 repeated, 2 gaps, and names the positions', async () => {
    const complete = await seeded()
    const good = await run(['verify', '--completeness'], complete.env)
    expect(good.code).toBe(0)
    expect(good.out).toMatch(/^COMPLETE {2}6 events, nothing missing, nothing repeated\n/)
    expect(good.out).toContain(`open: ${runId(1)} (seed), run_seq 0..5`)

    const gaps = await seeded(recentSession().filter((_, index) => index !== 3))
    const bad = await run(['verify', '--completeness'], gaps.env)
    expect(bad.code).toBe(2)
    expect(bad.out).toMatch(/^GAPS {2}5 events, 1 offset missing, 1 event missing\n/)
    expect(bad.out).toContain('audit.events partition 0: offset 3 missing')
    const where = `run ${runId(1)} (seed, open): run_seq 3 missing; the event at ${LOG_ID}/0/4 has the number 4\n`
    expect(bad.out).toContain(where)

    const twice = await seeded([...recentSession(), { run_seq: 2, log_offset: 9 }])
    const json = await run(['verify', '--completeness', '--json'], twice.env)
    expect(json.code).toBe(1)
    expect(JSON.parse(json.out)).toEqual(await completeness(twice.trail))
  })

  it('verify --completeness: a record under the number of another one is exit 1, with both positions', async () => {
    const { env, trail } = await seeded([{ run_seq: 0, log_offset: 0 }])
    await seedSkipped(trail.server, [
      duplicateOf({ run_seq: 0 }, 1),
      duplicateOf({ run_seq: 0 }, 2, { agent_id: 'other' }),
    ])
    const { code, out } = await run(['verify', '--completeness'], env)
    expect(code).toBe(1)
    expect(out).toMatch(/^CONFLICT {2}1 event, 1 duplicate that is no copy\n/)
    expect(out).toContain(
      `audit.events partition 0: offset 2 is a duplicate of run ${runId(1)} run_seq 0, stored at offset 0 with other content; see agent-audit dead-letters show ${LOG_ID}/0/2\n`,
    )
  })

  it('verify --completeness: what only another run or a dead letter explains is exit 4, and says which', async () => {
    const { env, trail } = await seeded([
      { run_seq: 0, log_offset: 0 },
      { run_seq: 4, log_offset: 1 },
      { run_id: runId(2), event_type: 'events_lost', log_offset: 2, run_seq: 0, content: lostOf(runId(1), 1, 2) },
    ])
    await seedSkipped(trail.server, [{ kind: 'dead', log_offset: 3, run_id: runId(1), run_seq: 3 }])
    const { code, out } = await run(['verify', '--completeness'], env)
    expect(code).toBe(4)
    expect(out).toMatch(/^CLAIMED {2}3 events, 3 events missing for a reason that is only claimed\n/)
    const name = `run ${runId(1)} (seed, open)`
    expect(out).toContain(
      `${name}: run_seq 1..2 (2) not stored; the only explanation is an events_lost event at ${LOG_ID}/0/2, of run ${runId(2)}\n`,
    )
    expect(out).toContain(
      `${name}: run_seq 3 not stored; the only explanation is a dead letter at ${LOG_ID}/0/3, which seems to be it\n`,
    )
  })

  it('a wrong password, or a database without tables: one line, exit 3', async () => {
    const { env } = await seeded()
    const denied = await run(['sessions'], { ...env, CLICKHOUSE_PASSWORD: 'guess' })
    expect([denied.code, denied.err]).toEqual([3, expect.stringMatching(/^agent-audit: [^\n]*wrong password[^\n]*\n$/)])
    const empty = await run(['sessions'], { ...env, CLICKHOUSE_DATABASE: 'not_there' })
    expect([empty.code, empty.err]).toEqual([
      3,
      expect.stringMatching(/^agent-audit: [^\n]*agent-audit setup[^\n]*\n$/),
    ])
  })

  it('setup makes tables once, and checks the writer', async () => {
    const server = tests.server()
    const env = environment(server)
    expect((await run(['setup'], env)).out).toMatch(/^\+ ClickHouse .*: applied 0001/)
    const writer = tests.server('writer')
    const checked = { ...env, CLICKHOUSE_WRITER_USER: writer.username, CLICKHOUSE_WRITER_PASSWORD: writer.password }
    const again = await run(['setup'], checked)
    expect(again.out).toMatch(/all \d+ migrations were applied before\n.*and has no other grants\nnothing to do\n$/s)
    const wide = tests.server('wide')
    const refused = await run(['setup'], {
      ...checked,
      CLICKHOUSE_WRITER_USER: wide.username,
      CLICKHOUSE_WRITER_PASSWORD: wide.password,
    })
    expect(refused.code).toBe(1)
    expect(refused.err).toMatch(/^agent-audit: [^\n]*ALTER DELETE[^\n]*\n$/)
  })

  it('reads a password from the file that CLICKHOUSE_PASSWORD_FILE names', async () => {
    const { env } = await seeded()
    const directory = makeTempDirectory()
    writeFileSync(join(directory, 'secret'), `${env['CLICKHOUSE_PASSWORD']}\n`)
    const { CLICKHOUSE_PASSWORD: _, ...rest } = env
    expect((await run(['sessions'], { ...rest, CLICKHOUSE_PASSWORD_FILE: join(directory, 'secret') })).code).toBe(0)
    const missing = await run(['sessions'], { ...rest, CLICKHOUSE_PASSWORD_FILE: join(directory, 'none') })
    expect([missing.code, missing.err]).toEqual([64, expect.stringContaining('CLICKHOUSE_PASSWORD_FILE')])
  })
})

describe.skipIf(NO_CLICKHOUSE !== undefined || process.env['CLICKHOUSE_URL'] !== undefined)(
  'on a data directory',
  () => {
    it('reads it while another process serves it, and after; the server that the environment names is not used', async () => {
      const directory = makeTempDirectory()
      const env = { CLICKHOUSE_URL: 'http://127.0.0.1:1' }
      await using owner = await openDataDir(directory)
      await seedEvents(owner.admin, recentSession())
      const whileServed = await runShim(['sessions', '-D', directory, '--json'], env)
      expect(JSON.parse(whileServed.out)).toMatchObject([{ session_id: 's1', events: 6 }])
      await owner.close()
      const after = await runShim(['verify', '--completeness', '-D', directory], env)
      expect([after.code, after.err]).toEqual([0, ''])
      expect(after.out).toMatch(/^COMPLETE {2}6 events/)
    })

    it('setup makes a trail, and reports it', async () => {
      const directory = join(makeTempDirectory(), 'new')
      mkdirSync(directory)
      expect((await run(['setup', '-D', directory])).out).toMatch(/^\+ data directory .*: applied 0001/)
      expect((await run(['setup', '-D', directory])).out).toMatch(/nothing to do\n$/)
    })
  },
)

describe('the agent-audit executable', () => {
  it('runs from source, passes on arguments and exit code, and prints no colours into a pipe', async () => {
    const wrong = await runShim(['sessions', '--since', 'never'])
    expect([wrong.code, wrong.out]).toEqual([64, ''])
    expect(wrong.err).toMatch(/^agent-audit: [^\n]+\n$/)
    const help = await runShim(['--help'], { FORCE_COLOR: '1' })
    expect(help.code).toBe(0)
    expect(help.out).not.toContain(ESCAPE)
  })

  it('ends without a message when its reader closes the pipe', async () => {
    const child = spawn(process.execPath, [SHIM, 'setup', '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
    let err = ''
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
    child.stdout.destroy()
    const [code] = (await once(child, 'exit')) as [number]
    expect([code, err]).toEqual([0, ''])
  })

  it('ends by the signal it gets, as a shell expects', async () => {
    const directory = makeTempDirectory()
    // A server that takes the connection and never answers keeps the command waiting.
    const { createServer } = await import('node:net')
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as { port: number }
    const env = { ...process.env, CLICKHOUSE_URL: `http://127.0.0.1:${port}`, HOME: directory }
    const child = spawn(process.execPath, [SHIM, 'sessions'], { stdio: 'ignore', env })
    const [socket] = (await once(silent, 'connection')) as [{ destroy(): void }]
    child.kill('SIGTERM')
    const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
    socket.destroy()
    silent.close()
    expect([code, signal]).toEqual([null, 'SIGTERM'])
  })
})

async function runShim(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  const child = spawn(process.execPath, [SHIM, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '', ...env },
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  return { code, out, err }
}
