/** `agent-audit verify --watch`: a service that verifies what is new, and puts its results on record and in its metrics. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { formatTrust } from '@agent-audit/seals'
import { describe, expect, it, onTestFinished } from 'vitest'
import { execute } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer } from '../analytics/support.ts'
import { MadeTrail } from '../support/made-trail.ts'
import { readMetric } from '../support/metrics.ts'
import { sessionRows } from '../producer/support.ts'

const MISSING = NO_CLICKHOUSE === undefined ? '' : `(skipped: ${NO_CLICKHOUSE})`
const WAIT = { timeout: 30_000, interval: 50 }

describe.skipIf(NO_CLICKHOUSE !== undefined)(`agent-audit verify --watch ${MISSING}`, async () => {
  if (NO_CLICKHOUSE !== undefined) return
  const tests = await startTestServer()

  it('verifies increments, records each result, serves metrics, and ends in order at SIGTERM', async () => {
    const analytics = await tests.newTrail()
    const made = new MadeTrail(analytics)
    const directory = mkdtempSync(join(tmpdir(), 'verify-watch-'))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    const file = (name: string): string => join(directory, name)
    await made.step({ one: 12 })
    writeFileSync(file('trust'), formatTrust(made.trust))
    const { url, username, password, database } = analytics.server
    const server = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
    const env = {
      ...server,
      CLICKHOUSE_DATABASE: database,
      AUDIT_DATA_DIR: file('data'),
      AUDIT_TRUST_FILE: file('trust'),
    }
    const stop = new AbortController()
    let [out, err] = ['', '']
    const ended = runCli(
      ['verify', '--watch', '1', '--record', '--metrics', file('verify.prom'), '--metrics-port', '0'],
      {
        env,
        colors: false,
        interrupted: () => stop.signal,
        out: (text) => void (out += text),
        err: (text) => void (err += text),
      },
    )
    await expect.poll(() => out, WAIT).toMatch(/VERIFIED {2}12 events, a log of 3 seals, tier database\n/)
    const metrics = /metrics at (\S+)/.exec(err)?.[1] ?? ''
    const metric = async (name: string, label?: string): Promise<number | undefined> =>
      readMetric(await (await fetch(metrics)).text(), name, label)
    await made.step({ one: 5 })
    await expect.poll(() => out, WAIT).toMatch(/VERIFIED {2}\d more events, a log of 6 seals/)
    expect(await metric('audit_verify_last_exit_code')).toBe(0)
    expect(await metric('audit_verify_increment')).toBe(1)
    await made.step({ one: 3 })
    const change = `ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE reasoning = 'one 18'`
    await execute(analytics.server, change, { mutations_sync: '2', log_comment: `${Date.now()} 99999999999999` })
    // The round of that step may have come before the change: then it was verified, and a next step is needed.
    await expect
      .poll(async () => {
        if (!out.includes('TAMPERING')) {
          await made.step({ one: 1 })
          const again = `ALTER TABLE audit_events UPDATE reasoning = 'x' WHERE run_seq = (SELECT max(run_seq) FROM audit_events)`
          await execute(analytics.server, again, { mutations_sync: '2', log_comment: `${Date.now()} 99999999999999` })
        }
        return out
      }, WAIT)
      .toMatch(/^TAMPERING .*rows-changed/ms)
    await expect.poll(() => metric('audit_verify_last_exit_code'), WAIT).toBe(1)
    expect(await metric('audit_verify_findings', 'severity="tampering"')).toBeGreaterThan(0)
    expect(readMetric(readFileSync(file('verify.prom'), 'utf8'), 'audit_verify_last_exit_code')).toBe(1)
    stop.abort()
    expect(await ended).toBe(0)
    expect(err).not.toMatch(/not recorded/)
    const verdicts = sessionRows(file('data')).filter(({ event_type }) => event_type === 'integrity.verified')
    expect(verdicts[0]).toMatchObject({ reason: 'verified', agent_id: 'agent-audit' })
    expect(verdicts[0]?.['content']).toMatchObject({ exit_code: 0, events: 12, tier: 'database' })
    expect(verdicts.at(-1)).toMatchObject({ reason: 'tampering' })
    expect(err).not.toMatch(/not recorded/)
  }, 120_000)

  it('goes on while the server is away, with exit code 3 in the metrics', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'verify-watch-'))
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
    const stop = new AbortController()
    let err = ''
    const terminal = { out: () => undefined, err: (text: string) => void (err += text), colors: false }
    const env = { CLICKHOUSE_URL: 'http://127.0.0.1:1' }
    const file = join(directory, 'verify.prom')
    const ended = runCli(['verify', '--watch', '1', '--metrics', file], {
      ...terminal,
      env,
      interrupted: () => stop.signal,
    })
    await expect.poll(() => err.match(/127\.0\.0\.1:1/g)?.length ?? 0, WAIT).toBeGreaterThan(1)
    expect(readMetric(readFileSync(file, 'utf8'), 'audit_verify_last_exit_code')).toBe(3)
    stop.abort()
    expect(await ended).toBe(0)
  })
})
