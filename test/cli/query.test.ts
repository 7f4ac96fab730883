/** `agent-audit query`: what it prints and writes, and how it refuses. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CATALOGUE } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { beforeAll, describe, expect, it } from 'vitest'
import { EVENTS } from '../analytics/catalogue/trail.ts'
import { execute, type SeedRow, seedEvents, type Server } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const ESCAPE = '\u001B'
const RANGE = ['--param', 'since=2026-11-24', '--param', 'until=2026-11-25']

async function run(args: readonly string[], env: Record<string, string> = {}) {
  let out = ''
  let err = ''
  const terminal = { out: (text: string) => (out += text), err: (text: string) => (err += text), env, colors: false }
  const code = await runCli(['query', ...args], terminal)
  return { code, out, err }
}

describe('without a server', () => {
  it.each([
    [['tokns'], /no such query; did you mean tokens\?/],
    [['xyzzy'], /no such query; there are session-trail, sub-agents/],
    [[], /which query\? `agent-audit query --list`/],
    [['tokens', '--param', 'agnt=a'], /query tokens: agnt: no such parameter; did you mean agent\?/],
    [['tokens', '--param', '__proto__=a'], /__proto__: no such parameter/],
    [['session-trail'], /session: needed/],
    [['tokens', '--param', 'since=yesterday'], /--param: since: expected a duration such as 24h/],
    [['tokens', '--param', 'since'], /--param: expected name=value/],
    [['tokens', '-p', 'agent=a', '-p', 'agent=b'], /--param: agent is given twice/],
    [['tokens', '--param', 'agent='], /agent: expected 1 to 32768 characters, got 0/],
    [['error-rates', '--param', 'every=minute'], /every: expected one of hour, day/],
    [['tokens', '-p', 'since=2026-11-24', '-p', 'until=2026-11-24'], /the range .* is empty/],
    [['not-taken', '-p', 'since=2025-01-01', '-p', 'until=2026-01-01'], /at most 92 days: .* has 365/],
    [['tokens', '--format', 'xml'], /Allowed choices are table, json, csv, parquet/],
    [['tokens', '--page', '0'], /--page.*whole number from 1/],
    [['tokens', '--after', 'x'], /this is no cursor of this query/],
    [['tokens', '--format', 'parquet'], /--format parquet: needs --output FILE/],
  ])('wrong use %j: one line that says what is right, exit 64', async (args, message) => {
    const { code, out, err } = await run(args, { CLICKHOUSE_URL: 'http://127.0.0.1:1' })
    expect(err).toMatch(message)
    expect(err).toMatch(/^agent-audit: [^\n]+\n$/)
    expect([code, out]).toEqual([64, ''])
  })

  it('lists every query, and describes one in its help', async () => {
    const { out } = await run(['--list'])
    for (const { name, answers } of Object.values(CATALOGUE))
      expect(out).toMatch(new RegExp(`^${name} +.*${answers.slice(-20, -1)}`, 'm'))
    const described = (await run(['approvals', '--describe'])).out
    expect(described).toMatch(/status \(choice\) +only approvals that stand so now \(pending \| approved \| rejected\)/)
    expect((await run(['approvals', '--help'])).out).toContain(described)
  })
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`on a real ClickHouse ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  async function seeded(rows: readonly SeedRow[] = EVENTS) {
    const { server } = await tests.newTrail()
    await seedEvents(server, rows)
    return { env: environment(server), server }
  }

  it('a table has the figures, and leaves out columns without a value', async () => {
    const { env } = await seeded()
    const { code, out } = await run(['tool-activity', ...RANGE, '-p', 'agent=support'], env)
    expect(code).toBe(0)
    expect(out).toMatch(/^TOOL NAME +AGENT ID +CALLS +NOT TAKEN +SUCCEEDED/)
    expect(out).toMatch(/\nmail +support +2 +1 +1 +0 +1 +/)
    expect((await run(['not-taken', ...RANGE], env)).out).not.toContain('USER ID  POLICY')
  })

  it('pages: the cursor that is printed goes on behind the last row, with the same parameters', async () => {
    const { env } = await seeded()
    const all = JSON.parse((await run(['session-trail', '-p', 'session=s1', '-f', 'json'], env)).out) as unknown[]
    const paged: unknown[] = []
    let args = ['-p', 'session=s1']
    for (let pages = 0; pages < 5 && args.length > 0; pages++) {
      const { out, err } = await run(['session-trail', '-f', 'json', '--page', '5', ...args], env)
      paged.push(...(JSON.parse(out) as unknown[]))
      const cursor = /go on with --after (\S+)\n/.exec(err)?.[1]
      args = cursor === undefined ? [] : ['--after', cursor]
    }
    expect(paged).toEqual(all)
    expect(paged).toHaveLength(14)
    const after = /--after (\S+)/.exec((await run(['runs', ...RANGE, '--page', '1'], env)).err)?.[1] ?? ''
    expect((await run(['losses', '--after', after], env)).err).toContain('this is no cursor of this query')
    expect((await run(['runs', '--after', after, ...RANGE], env)).err).toContain('give none beside it')
  })

  it('recorded text acts on no terminal and no spreadsheet, and JSON keeps it', async () => {
    const evil = ['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\rx', '＝1', `${ESCAPE}[2J`, 'a,"b"\nc', '', '\u202Egnp.exe']
    const rows = evil.map((error, index) => ({
      log_offset: index,
      run_seq: index,
      session_id: 's1',
      agent_id: '=cmd',
      error,
    }))
    const { env } = await seeded(rows)
    const query = (format: string) => run(['session-trail', '-p', 'session=s1', '-f', format], env)
    const json = (await query('json')).out
    expect((JSON.parse(json) as { error: string }[]).map(({ error }) => error)).toEqual(evil)
    const csv = (await query('csv')).out
    const table = (await query('table')).out
    for (const text of [json, csv, table]) expect(text.replaceAll('\r\n', '')).not.toMatch(/(?!\n|\t)[\p{Cc}\u202E]/u)
    const errorsInCsv = csv
      .split('\r\n')
      .slice(1, -1)
      .map((line) => line.split(',0,llm_call,')[1])
    expect(errorsInCsv).toEqual(
      [
        `'=cmd,,,,,,,'=1+1`,
        `'=cmd,,,,,,,'+1`,
        `'=cmd,,,,,,,'-1`,
        `'=cmd,,,,,,,'@SUM(A1)`,
        `'=cmd,,,,,,,'\tx`,
        `'=cmd,,,,,,,'\\u000dx`,
        `'=cmd,,,,,,,'＝1`,
        `'=cmd,,,,,,,\\u001b[2J`,
        `'=cmd,,,,,,,"a,""b""\nc"`,
        `'=cmd,,,,,,,""`,
        `'=cmd,,,,,,,\\u202egnp.exe`,
      ].map((line) => expect.stringContaining(line)),
    )
  })

  it('numbers stay numbers: negative ones without an apostrophe, large ones with all digits', async () => {
    const row = { event_type: 'llm_call', input_tokens: '9223372036854775807', log_time: '2026-11-24 09:59:59.000' }
    const { env } = await seeded([0, 1].map((offset) => ({ ...row, log_offset: offset, run_seq: offset })))
    expect((await run(['agent-activity', ...RANGE, '-f', 'json'], env)).out).toContain(
      '"input_tokens":18446744073709551614,',
    )
    expect((await run(['agent-activity', ...RANGE, '-f', 'csv'], env)).out).toContain(',18446744073709551614,')
    expect((await run(['agent-activity', ...RANGE], env)).out).toContain('18,446,744,073,709,551,614')
    expect((await run(['runs', ...RANGE, '-f', 'csv'], env)).out).toMatch(/,-1\.000001\r\n$/)
  })

  it('nothing found is said, and leaves an empty answer', async () => {
    const { env } = await seeded([])
    for (const [format, empty] of [
      ['table', ''],
      ['json', '[]\n'],
      ['csv', /^timestamp,producer_id,[a-z_,]+\r\n$/],
    ] as const) {
      const { code, out, err } = await run(['losses', ...RANGE, '-f', format], env)
      expect(code).toBe(0)
      if (typeof empty === 'string') expect(out).toBe(empty)
      else expect(out).toMatch(empty)
      expect(err).toBe('agent-audit: losses: nothing found from 2026-11-24T00:00:00.000Z to 2026-11-25T00:00:00.000Z\n')
    }
    const directory = makeTempDirectory()
    const { err } = await run(['losses', ...RANGE, '-f', 'parquet', '-o', join(directory, 'a.parquet')], env)
    expect(err).toBe('agent-audit: losses: nothing found, no file was written\n')
    expect(readdirSync(directory)).toEqual([])
  })

  it('writes files that appear whole: Parquet has types that readers know', async () => {
    const { env, server } = await seeded()
    const directory = makeTempDirectory()
    const file = join(directory, 'tokens.parquet')
    expect(await run(['tokens', ...RANGE, '-f', 'parquet', '-o', file], env)).toEqual({ code: 0, out: '', err: '' })
    const described = await execute(
      server,
      `SELECT * FROM format(Parquet, unhex('${readFileSync(file).toString('hex')}')) FORMAT JSONEachRow`,
    )
    expect(JSON.parse(described.split('\n')[1] ?? '')).toMatchObject({
      day: '2026-11-24',
      agent_id: 'support',
      calls: 3,
      input_tokens: 1_000_010,
      price: expect.stringContaining('read on') as string,
    })
    const csv = join(directory, 'tokens.csv')
    writeFileSync(csv, 'before')
    await run(['tokens', ...RANGE, '-f', 'csv', '-o', csv], env)
    expect(readFileSync(csv, 'utf8')).toMatch(/^day,agent_id.*\r\n2026-11-24,helper,home-made,1,/)
    expect(readdirSync(directory).toSorted()).toEqual(['tokens.csv', 'tokens.parquet'])
    const lost = await run(['tokens', ...RANGE, '-f', 'csv', '-o', csv], { ...env, CLICKHOUSE_PASSWORD: 'wrong' })
    expect(lost.code).toBe(3)
    expect(readFileSync(csv, 'utf8')).toMatch(/^day,/)
    expect(readdirSync(directory)).toHaveLength(2)
  })
})

function environment({ url, username, password, database }: Server): Record<string, string> {
  return {
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
  }
}
