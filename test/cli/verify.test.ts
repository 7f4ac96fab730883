/** `agent-audit verify` by its options: what it finds by itself, what it takes over, what it leaves out, and its exit codes. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { checkpointLine, formatTrust, type Trust } from '@agent-audit/seals'
import { describe, expect, it, onTestFinished } from 'vitest'
import { execute } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer } from '../analytics/support.ts'
import { MadeTrail } from '../support/made-trail.ts'

const MISSING = NO_CLICKHOUSE === undefined ? '' : `(skipped: ${NO_CLICKHOUSE})`

describe.skipIf(NO_CLICKHOUSE !== undefined)(`agent-audit verify ${MISSING}`, async () => {
  if (NO_CLICKHOUSE !== undefined) return
  const tests = await startTestServer()

  async function newMade() {
    const analytics = await tests.newTrail()
    const made = new MadeTrail(analytics)
    const directory = mkdtempSync(join(tmpdir(), 'verify-'))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    const file = (name: string): string => join(directory, name)
    const { url, username, password, database } = analytics.server
    const server = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
    const run = async (args: readonly string[] = [], more: Readonly<Record<string, string>> = {}) => {
      let [out, err] = ['', '']
      const env = { ...server, CLICKHOUSE_DATABASE: database, ...more }
      const terminal = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
      const code = await runCli(['verify', ...args], { ...terminal, env, colors: false })
      return { code, out, err }
    }
    /** The variables that name the anchors, with the files as they are now. */
    const anchors = (trust: Trust = made.trust): Record<string, string> => {
      writeFileSync(file('trust'), formatTrust(trust))
      writeFileSync(file('checkpoints'), made.checkpoints.map(checkpointLine).join(''))
      return { AUDIT_TRUST_FILE: file('trust'), AUDIT_CHECKPOINTS_FILE: file('checkpoints') }
    }
    const change = (statement: string): Promise<string> =>
      execute(analytics.server, statement, { mutations_sync: '2', log_comment: `${Date.now()} 99999999999999` })
    return { made, run, anchors, change, file }
  }

  it('without a seal: says "not signed", and has the codes of all runs', async () => {
    const { made, run, change } = await newMade()
    expect(await run()).toMatchObject({ code: 3, err: expect.stringContaining('nothing to verify') })
    await made.store('one', 12)
    expect(await run()).toMatchObject({ code: 0, out: expect.stringMatching(/^COMPLETE.*\nnot signed: /s), err: '' })
    await change(`ALTER TABLE audit_events DELETE WHERE run_seq = 5`)
    expect(await run()).toMatchObject({ code: 2, out: expect.stringMatching(/\nnot signed: /) })
    expect(await run(['--partition', '0'])).toMatchObject({ code: 64, err: expect.stringContaining('has none') })
    expect(await run(['--session', 'x'])).toMatchObject({ code: 64, err: expect.stringContaining('need --trust') })
  })

  it('with seals and without a trust file: compares them, and says that no key was checked', async () => {
    const { made, run, change } = await newMade()
    await made.step({ one: 12 })
    const good = await run()
    expect(good).toMatchObject({ code: 0, err: '' })
    expect(good.out).toMatch(/^NOT SIGNED BY A KNOWN KEY.*\ntier none: .*\ntrust file: none: keys are not checked\n/s)
    expect(good.out).toMatch(/not checked:\n {2}keys: there is no trust file/)
    const json = JSON.parse((await run(['--json'])).out) as Record<string, unknown>
    expect(json).toMatchObject({ verdict: 'verified', tier: 'none', trust_signature: 'missing' })
    expect(json).not.toHaveProperty('state')
    await change(`ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE run_seq = 5`)
    expect((await run()).code).toBe(1)
  })

  it('finds trust file, root and checkpoints by their variables; a file of a sink too', async () => {
    const { made, run, anchors, file } = await newMade()
    await made.step({ one: 12 })
    const env = anchors()
    expect(await run([], env)).toMatchObject({ code: 0, out: expect.stringMatching(/^VERIFIED.*\ntier outside: /s) })
    // A line that a crash has torn is no line.
    writeFileSync(file('checkpoints'), readFileSync(file('checkpoints'), 'utf8') + 'bWFkZS50ZXN0')
    expect((await run([], env)).code).toBe(0)
    const root = { ...env, AUDIT_ROOT_VKEY: made.key('p0').key.vkey }
    expect(await run([], root)).toMatchObject({ code: 64, err: expect.stringMatching(/has not signed it/) })
    expect((await run([], { ...env, AUDIT_CHECKPOINTS_FILE: file('none') })).code).toBe(64)
  })

  it('--state: reads what is new; a state that cannot be used is named, and all is read', async () => {
    const { made, run, anchors, change, file } = await newMade()
    const state = ['--state', file('state')]
    await made.step({ one: 12 })
    expect(await run(state, anchors())).toMatchObject({
      code: 0,
      err: '',
      out: expect.not.stringMatching(/taken over/),
    })
    await made.step({ one: 5 })
    await change(`ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE run_seq = 3`)
    const second = await run(state, anchors())
    expect(second).toMatchObject({ code: 0, err: '' })
    expect(second.out).toMatch(/^VERIFIED {2}5 events .*\ntaken over from the run of 20.*: 12 events, 3 leaves\n/s)
    // A run that finds something leaves the state as it is.
    const before = readFileSync(file('state'), 'utf8')
    expect((await run([...state, '--full'], anchors())).code).toBe(1)
    expect(readFileSync(file('state'), 'utf8')).toBe(before)
    const other = anchors({ ...made.trust, producers: ['p0'] })
    const renamed = await run(state, other)
    expect(renamed).toMatchObject({ code: 1, err: expect.stringMatching(/trust file is another.*all of the trail is/) })
    anchors()
    writeFileSync(file('state'), before.slice(0, -20))
    expect(await run(state, other)).toMatchObject({ code: 1, err: expect.stringMatching(/damaged or cut/) })
    writeFileSync(file('state'), before)
    chmodSync(file('state'), 0o666)
    expect(await run(state, other)).toMatchObject({ code: 1, err: expect.stringMatching(/others than its owner/) })
  })

  it('--since, --partition and --session say what they do not check', async () => {
    const { made, run, anchors } = await newMade()
    await made.step({ one: 12, two: 8 })
    const env = anchors()
    const since = await run(['--since', '1h'], env)
    expect(since).toMatchObject({ code: 0, out: expect.stringMatching(/not checked:\n {2}rows appended before 20/) })
    const partition = await run(['--partition', '1', '--json'], env)
    expect(JSON.parse(partition.out)).toMatchObject({
      verdict: 'verified',
      completeness: null,
      not_checked: expect.arrayContaining([expect.stringMatching(/^other partitions, and what lies in several/)]),
    })
    const session = await run(['--session', 'session of one'], env)
    expect(session.out).toMatch(/content {2}12 events, 1 seal\n.*not checked:\n {2}other sessions/s)
    expect(await run(['--session', 'nobody'], env)).toMatchObject({
      code: 3,
      err: expect.stringContaining('no session'),
    })
    expect((await run(['--session', 'x', '--since', '1h'], env)).code).toBe(64)
  })

  it('what is younger than --settle may wait for its seal', async () => {
    const { made, run, anchors } = await newMade()
    await made.step({ one: 12 })
    await made.store('one', 3)
    expect(await run([], anchors())).toMatchObject({
      code: 0,
      out: expect.stringMatching(/3 events of the last moments/),
    })
    expect(await run(['--settle', '0'], anchors())).toMatchObject({
      code: 2,
      out: expect.stringMatching(/incomplete records-unsealed: .*incomplete rows-unsealed: /s),
    })
  })
})
